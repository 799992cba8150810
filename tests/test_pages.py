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
GLOSSARY = NOTEBOOKS / "book" / "intervals.md"
# Names of data sets, programs, models, formats and licences, and what every reader knows.
NAMES = """
AMD ARCTIC ASCII BERT CMU COVAREP CP1252 CP1256 CPU CSV DAF FACET GB GB18030 GPU H200 IEMOCAP MATLAB
HTML MB MELD MISA MIT MM MMMO MMSA MOSEI MOSI NVIDIA README SIMS SLURM VADER YAML
"""


def prose(text: str) -> str:
    """A page's running text: no code, tables, headings, links' targets."""
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    text = re.sub(r"</?[a-z]+\b[^>]*>", " ", text)  # HTML
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


def text_of(page: Path) -> str:
    """What a page or a notebook's source holds as text."""
    return page.read_text() if page.suffix == ".md" else markdown_of(page)


def abbreviations(text: str) -> set[str]:
    """Words in capitals, outside code, formulas, tables and links' targets."""
    text = re.sub(r"`[^`]*`|\$[^$]*\$|https?://\S+", " ", prose(text))
    return set(re.findall(r"\b[A-Z][A-Z0-9]+\b(?![-/.]\w)", text))


def test_the_readme_has_at_most_150_lines():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES + SOURCES, ids=lambda page: page.name)
def test_links_lead_to_files_that_are_there(page):
    text = text_of(page)
    links = [link for link in LINK.findall(text) if not link.startswith(("http", "#"))]
    gone = [link for link in links if not (page.parent / link.partition("#")[0]).exists()]
    assert not gone


@pytest.mark.parametrize("page", PAGES + SOURCES, ids=lambda page: page.name)
def test_sentences_can_be_read(page):
    found = sentences(text_of(page))
    assert all(len(words) <= LONGEST for words in found), max(found, key=len)
    assert sum(map(len, found)) / len(found) < 20


@pytest.mark.parametrize("page", PAGES + SOURCES, ids=lambda page: page.name)
def test_no_abbreviation_is_undefined(page):
    """Each is in the glossary's tables, which the README's section on where to begin links."""
    defined = set(re.findall(r"^\| ([A-Z][A-Z0-9]+) \| \S", GLOSSARY.read_text(), flags=re.M))
    assert {"MAE", "CKA"} <= defined and "intervals.md" in (ROOT / "README.md").read_text()
    assert abbreviations(text_of(page)) - {*NAMES.split()} - defined == set()


def test_the_page_on_scores_lists_them_as_they_are_defined():
    text = (NOTEBOOKS / "book" / "scores.md").read_text()
    for name, metric in METRICS.items():
        definition = metric.definition.replace("|p - y|", "abs(p - y)")
        better = {"low": "lower", "high": "higher"}[metric.better]
        assert f"| `{name}` | {definition} | {metric.whose} | {better} |" in text


def test_every_notebook_is_in_the_readme():
    text = (ROOT / "README.md").read_text()
    assert [n.stem for n in SOURCES if f"(notebooks/{n.stem}.ipynb)" not in text] == []


def test_answers_to_the_ten_questions_still_stand():
    text = (ROOT / "tests" / "ten_questions.md").read_text()
    keys = re.findall(r"`([^`]+)` in (README\.md|notebooks/\w+\.ipynb)", text)
    assert len(keys) >= 10 == len(re.findall(r"^\d+\. \*\*", text, re.MULTILINE))
    words = {name: " ".join((ROOT / name).read_text().split()) for _, name in keys}
    assert [(key, name) for key, name in keys if key not in words[name]] == []
