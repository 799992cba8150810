"""The exercises of the notebooks: each has a folded solution that a reader can paste and run."""

import ast
import builtins
import re

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

from mmlib.files import NOTEBOOKS

SOLUTION = re.compile(
    r"<details><summary>Solution</summary>\n+```python\n(.*?)```\n+</details>", re.S
)
SOURCES = [p for p in sorted(NOTEBOOKS.glob("[0-9]*.py")) if "## Exercises" in p.read_text()]
each_notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def cells(source):
    return jupytext.read(source).cells


def solutions(source) -> list[str]:
    """Code of the folded solutions of a notebook."""
    return [
        x for c in cells(source) if c.cell_type == "markdown" for x in SOLUTION.findall(c.source)
    ]


def bound(tree: ast.AST) -> set[str]:
    """Names that code binds somewhere."""
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and is_bound(n)}
    names |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(a.asname or a.name).partition(".")[0] for a in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
    return names


def is_bound(node: ast.AST) -> bool:
    return isinstance(getattr(node, "ctx", None), ast.Store)


def read(tree: ast.AST) -> set[str]:
    """Names that code reads."""
    names = (n for n in ast.walk(tree) if isinstance(n, ast.Name) and not is_bound(n))
    return {name.id for name in names}


def test_the_chapters_have_exercises():
    chapters = {path.stem[:2] for path in SOURCES}
    assert {"00", "01", "02", "03", "04", "05", "06", "07", "09"} <= chapters


@each_notebook
def test_each_exercise_has_a_solution(source):
    (cell,) = [c.source for c in cells(source) if "## Exercises" in c.source]
    folded = re.findall(r"<details>.*?</details>", cell, flags=re.S)
    asked = re.findall(
        r"^(?:\*\*)?(\d)\.", re.sub(r"<details>.*?</details>", "", cell, flags=re.S), re.M
    )
    assert asked == [str(k + 1) for k in range(len(asked))] and 3 <= len(asked) <= 5
    in_one = [re.findall(r"^(\d)\.", fold, flags=re.M) for fold in folded]
    assert len(folded) == len(asked) or in_one == [asked]
    assert sum("```python" in fold for fold in folded) == len(SOLUTION.findall(cell))


@each_notebook
def test_solutions_use_names_that_the_notebook_has(source):
    known = set(dir(builtins))
    for cell in cells(source):
        known |= bound(ast.parse(cell.source)) if cell.cell_type == "code" else set()
    for solution in solutions(source):
        tree = ast.parse(solution)
        assert read(tree) - known - bound(tree) == set()


@pytest.mark.slow
@pytest.mark.parametrize("source", list(filter(solutions, SOURCES)), ids=lambda path: path.stem)
def test_solutions_run_below_the_notebook(source):
    """In the order in which they stand, and each says something."""
    notebook = jupytext.read(source)
    notebook.cells += [nbformat.v4.new_code_cell(code) for code in solutions(source)]
    options = {"timeout": 900, "kernel_name": "python3"}
    NotebookClient(notebook, resources={"metadata": {"path": NOTEBOOKS}}, **options).execute()
    assert all(cell.outputs for cell in notebook.cells[-len(solutions(source)) :])
