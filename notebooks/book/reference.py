"""The reference pages of the book: every public name of mmlib with its signature and docstring.

Read from the source by `ast`, so that nothing of mmlib is imported. One page a room.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "mmlib"
PAGES = Path(__file__).parent / "reference"


def write() -> None:
    """Make the pages anew, and an index of them; a page of a room that went goes as well."""
    PAGES.mkdir(exist_ok=True)
    for old in PAGES.glob("*.md"):
        old.unlink()
    rooms = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
    for room in rooms:
        (PAGES / f"{room}.md").write_text(page(room))
    contents = "\n".join(rooms)
    intro = "Every public name, with its docstring. Words: [how to read a number](../intervals.md)."
    (PAGES / "index.md").write_text(
        f"# Reference\n\n{intro}\n\n```{{toctree}}\n:maxdepth: 1\n\n{contents}\n```\n"
    )


def page(room: str) -> str:
    """A room's page: what it is for, then its files in order."""
    about = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text())) or ""
    parts = [f"# mmlib.{room}\n\n{fenced(about)}"]
    for path in sorted((PACKAGE / room).rglob("*.py")):
        if not path.name.startswith("_"):
            parts += section(path)
    return "\n".join(parts)


def section(path: Path) -> Iterator[str]:
    """A file's part of the page; nothing where it has no public name."""
    tree = ast.parse(path.read_text())
    names = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    if names := [n for n in names if not n.name.startswith("_")]:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield f"\n## {module}\n\n{fenced(ast.get_docstring(tree) or '')}"
        for name in names:
            yield f"\n### {name.name}\n\n```python\n{signature(name)}\n```\n"
            yield fenced(ast.get_docstring(name) or "")


def signature(node: ast.FunctionDef | ast.ClassDef) -> str:
    """A function's head; a class's with its fields and its methods' heads."""
    if isinstance(node, ast.FunctionDef):
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return f"def {node.name}({ast.unparse(node.args)}){returns}"
    bases = ", ".join(map(ast.unparse, node.bases))
    head = f"class {node.name}({bases}):" if bases else f"class {node.name}:"
    fields = [ast.unparse(x) for x in node.body if isinstance(x, ast.AnnAssign)]
    methods = [
        x for x in node.body if isinstance(x, ast.FunctionDef) and not x.name.startswith("_")
    ]
    return "\n    ".join([head, *fields, *map(signature, methods)]).removesuffix(":")


def fenced(text: str) -> str:
    """A docstring as it stands."""
    return f"```text\n{text}\n```\n" if text else ""
