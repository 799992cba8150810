"""The book as a reader opens it from disk: links, formulas, search, nothing from elsewhere."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from mmlib.files import ROOT

BOOK = ROOT / "site" / "html"
PAGES = sorted(BOOK.glob("**/*.html")) if BOOK.exists() else []
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PAGES, reason="no site/; make book builds it"),
]
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")


class Parsed(HTMLParser):
    """What a page links to, what it loads, and the names in it that links can end at."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links, self.loads, self.names = [], [], set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list) -> None:
        given = dict(attrs)
        self.names |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") == "stylesheet":
            self.loads.append(given["href"])
        elif given.get("src"):
            self.loads.append(given["src"])


@pytest.fixture(scope="module")
def parsed():
    return {page.resolve(): Parsed(page) for page in PAGES}


def rendered(page: Path, query: str = "") -> tuple[str, str]:
    """The page after its scripts, and what the console said; every host is out of reach."""
    alone = ["--headless", "--no-sandbox", "--disable-gpu", "--proxy-server=127.0.0.1:9"]
    log = ["--enable-logging=stderr", "--virtual-time-budget=20000", "--dump-dom"]
    done = subprocess.run(
        [CHROMIUM, *alone, *log, page.as_uri() + query], capture_output=True, text=True, timeout=300
    )
    return done.stdout, "\n".join(x for x in done.stderr.splitlines() if "CONSOLE" in x)


def test_every_notebook_and_page_is_in_the_book():
    sources = [*ROOT.glob("notebooks/[0-9]*.py"), *ROOT.glob("notebooks/book/*.md")]
    assert {source.stem for source in sources} <= {page.stem for page in PAGES}


def test_links_inside_the_book_lead_somewhere(parsed):
    for page, content in parsed.items():
        for link in content.links:
            parts = urlsplit(link)
            if parts.scheme or link == "#":
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            assert target.exists(), f"{page.name}: {link}"
            if parts.fragment and target in parsed:
                assert unquote(parts.fragment) in parsed[target].names, f"{page.name}: {link}"


def test_nothing_is_loaded_from_another_machine(parsed):
    for page, content in parsed.items():
        for address in content.loads:
            assert not urlsplit(address).netloc, f"{page.name}: {address}"
            local = (page.parent / unquote(urlsplit(address).path)).resolve()
            assert address.startswith("data:") or local.exists(), f"{page.name}: {address}"


@needs_browser
@pytest.mark.parametrize("name", ["02_daf", "05_dyfulm"])
def test_formulas_are_set_and_the_console_is_silent(name):
    page, console = rendered(BOOK / f"{name}.html")
    formulas = len(re.findall(r'class="math ', (BOOK / f"{name}.html").read_text()))
    assert page.count("<mjx-container") >= formulas > 5
    assert "Math input error" not in page and not console


@needs_browser
def test_the_search_finds_a_word_from_disk():
    page, _ = rendered(BOOK / "search.html", "?q=guidance")
    assert "05_dyfulm.html" in page.partition('id="search-results"')[2]
