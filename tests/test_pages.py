"""README, book pages and notebooks: short, every link leads somewhere, sentences can be read."""

import re
from pathlib import Path

import pytest

from mmlib.files import NOTEBOOKS, ROOT
from mmlib.scores.metrics import METRICS

PAGES = [ROOT / "README.md", *sorted((NOTEBOOKS / "book").glob("*.md"))]
SOURCES = sorted(NOTEBOOKS.glob("[0-9]*.py"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
LONGEST = 40  # words of a sentence


def prose(text: str) -> str:
    """A page's running text: no code, tables, headings, links' targets."""
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    lines = [line for line in text.splitlines() if not line.startswith(("|", "#", "!", "- ["))]
    return re.sub(r"\]\([^)]*\)", "]", "\n".join(lines))


def sentences(text: str) -> list[list[str]]:
    """Words of each sentence; a list item or a paragraph ends one."""
    parts = re.split(r"\n\s*\n|\n(?=\s*(?:-|\d+\.) )", prose(text))
    found = [re.split(r"(?<=[.!?:;])\s+", " ".join(part.split())) for part in parts]
    return [sentence.split() for part in found for sentence in part if sentence]


def markdown_of(source: Path) -> str:
    """What a notebook's source holds as text."""
    cells = re.split(r"^# %%", source.read_text(), flags=re.M)
    return "\n\n".join(
        re.sub(r"^# ?", "", cell, flags=re.M) for cell in cells if cell.startswith(" [markdown]")
    )


def test_the_readme_has_at_most_150_lines():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES + SOURCES, ids=lambda page: page.name)
def test_links_lead_to_files_that_are_there(page):
    text = page.read_text() if page.suffix == ".md" else markdown_of(page)
    links = [link for link in LINK.findall(text) if not link.startswith(("http", "#"))]
    gone = [link for link in links if not (page.parent / link.partition("#")[0]).exists()]
    assert not gone


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_sentences_can_be_read(page):
    found = sentences(page.read_text())
    assert all(len(words) <= LONGEST for words in found), max(found, key=len)
    assert sum(map(len, found)) / len(found) < 20


def test_the_page_on_scores_lists_them_as_they_are_defined():
    text = (NOTEBOOKS / "book" / "scores.md").read_text()
    for name, metric in METRICS.items():
        definition = metric.definition.replace("|p - y|", "abs(p - y)")
        better = {"low": "lower", "high": "higher"}[metric.better]
        assert f"| `{name}` | {definition} | {metric.whose} | {better} |" in text


def test_every_notebook_is_in_the_readme():
    text = (ROOT / "README.md").read_text()
    assert [n.stem for n in SOURCES if f"(notebooks/{n.stem}.ipynb)" not in text] == []
