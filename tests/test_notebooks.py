"""What the stored notebooks show: no empty table, no empty axes, no figure without a word on it.

Chapters open with a picture, contents whose links lead to headings, the paper and both neighbours.
Code cells are short.
"""

import ast
import re
from statistics import median

import jupytext
import nbformat
import pytest

from mmlib.files import NOTEBOOKS

STORED = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
SOURCES = sorted(NOTEBOOKS.glob("[0-9]*.py"))
OPENED = {f"{n:02}" for n in range(15)} - {"08"}
CHAPTERS = [path for path in SOURCES if path.stem[:2] in OPENED]
PAPERS = ("https://arxiv.org/abs/2509.22729", "https://arxiv.org/abs/2512.01410")
EMPTY_TABLE = re.compile(r"Empty DataFrame|Series\(\[\]|^\[\]$|^\{\}$", re.M)
EMPTY_AXES = re.compile(r"<Figure size [\d.x]+ with 0 Axes>")

each_stored = pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
each_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def texts(cell) -> list[str]:
    """What a code cell printed or displayed as text, pictures' stand-ins left out."""
    shown = [o for o in cell.get("outputs", []) if not is_figure(o)]
    return [o.get("text") or o.get("data", {}).get("text/plain", "") for o in shown]


def is_figure(output) -> bool:
    return any(kind.startswith("image/") for kind in output.get("data", {}))


def is_followed(cells: list, i: int) -> bool:
    """Whether text stands below a figure of cell i, or in the next cell that is no heading."""
    if any(map(str.strip, texts(cells[i]))):
        return True
    for cell in cells[i + 1 :]:
        if cell.cell_type == "markdown":
            return not cell.source.lstrip().startswith(("#", "<a id"))
        if any(map(str.strip, texts(cell))):
            return True
    return False


def contents(text: str) -> list[str]:
    """Anchors that the list of contents links to."""
    return re.findall(r"\]\(#([^)]+)\)", text)


def slug(title: str) -> str:
    """The anchor that the book gives to a heading."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


@each_stored
def test_jupyterlab_finds_nothing_to_add_on_opening(path):
    """It writes the kernel's name and language into a notebook that lacks them: an unsaved mark."""
    about = nbformat.read(path, as_version=4).metadata
    assert about.kernelspec.display_name == "Python 3 (ipykernel)"
    assert {"codemirror_mode", "mimetype", "pygments_lexer", "version"} <= set(about.language_info)


@each_stored
def test_no_table_is_empty(path):
    for cell in nbformat.read(path, as_version=4).cells:
        for text in texts(cell):
            assert not EMPTY_TABLE.search(text), f"{cell.source}\n{text}"


@each_stored
def test_every_figure_has_axes_and_is_drawn_in_one_cell(path):
    cells = nbformat.read(path, as_version=4).cells
    savers = [name for c in cells for name in re.findall(r"^def (\w+)", c.source, re.M)
              if "save(" in c.source]  # fmt: skip
    for cell in cells:
        figures = [o for o in cell.get("outputs", []) if is_figure(o)]
        for output in figures:
            assert not EMPTY_AXES.search(output.data.get("text/plain", "")), cell.source
        if figures:
            saved = [f"{name}(" in cell.source for name in ("save", "browse", *savers)]
            assert any(saved), cell.source


@each_stored
def test_a_text_follows_every_figure(path):
    cells = nbformat.read(path, as_version=4).cells
    for i, cell in enumerate(cells):
        drawing = '"models", "svg")' in cell.source  # the picture above
        if any(is_figure(output) for output in cell.get("outputs", [])) and not drawing:
            assert is_followed(cells, i), cell.source


@each_chapter
def test_a_chapter_opens_with_a_picture_linked_contents_and_its_neighbours(path):
    first = jupytext.read(path).cells[0].source
    assert "![" in first and any(paper in first for paper in PAPERS)
    text = path.read_text()
    headings = re.findall(r'^# <a id="([^"]+)"></a>\n#\n# ## (.+)$', text, flags=re.M)
    assert contents(first) == [anchor for anchor, _ in headings]
    assert all(anchor == slug(title) for anchor, title in headings)
    assert len(headings) == len(re.findall(r"^# ## ", text, flags=re.M))
    i = SOURCES.index(path)
    if path.stem < "10":  # read in this order; those that follow name what they build on
        for neighbour in (SOURCES[i - 1] if i else None, SOURCES[i + 1]):
            assert neighbour is None or f"({neighbour.stem}.ipynb)" in text
    assert ".ipynb)" in first


@each_chapter
def test_code_cells_are_short(path):
    cells = [c.source for c in jupytext.read(path).cells if c.cell_type == "code" and c.source]
    lines = [len([line for line in cell.splitlines() if line.strip()]) for cell in cells]
    assert median(lines) <= 5 and max(lines) <= 20
    assert not any("fmt: skip" in cell for cell in cells)
    assert all(ast.parse(cell).body for cell in cells), "a cell without code"
