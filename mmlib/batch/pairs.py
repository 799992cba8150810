"""A notebook and the `.py` beside it: which of the two holds cells that the other lacks.

python -m mmlib.batch.pairs notebooks/02_daf.ipynb     refuses where a cell would be lost

`make notebooks` asks this first, because it writes the cells of the `.py` over the notebook's.
"""

import sys
from pathlib import Path

from mmlib.batch.parameters import cells, imported


def advice(notebook: Path) -> str:
    """One line about cells that differ, "" if none do; a run executes those of the `.ipynb`."""
    written, executed = _both(notebook)
    if written == executed:
        return ""
    if is_edited(notebook):
        path, source = (_from_here(notebook.with_suffix(end)) for end in (".ipynb", ".py"))
        return (
            f"{notebook.stem}: its .ipynb is newer and has cells that the .py lacks; "
            f"jupytext --to py:percent {path} takes them over, touch {source} gives them up"
        )
    return (
        f"{notebook.stem}: its .py has other cells than the .ipynb, which is what runs; "
        f"make notebooks ONLY={notebook.stem} takes them over"
    )


def is_edited(notebook: Path) -> bool:
    """Whether the `.ipynb` is the newer one and has cells that the `.py` lacks."""
    written, executed = _both(notebook)
    times = [notebook.with_suffix(end).stat().st_mtime_ns for end in (".py", ".ipynb")]
    return times[0] < times[1] and any(executed.count(c) > written.count(c) for c in executed)


def _both(notebook: Path) -> list[list[tuple[str, str]]]:
    """Kind and text of the cells of the `.py` and of the `.ipynb`; none where one is missing."""
    source = notebook.with_suffix(".py")
    if not (source.exists() and notebook.exists()):
        return [[], []]
    both = imported("jupytext").read(source).cells, cells(notebook)
    return [[(cell.cell_type, cell.source.strip()) for cell in side] for side in both]


def _from_here(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def main(notebook: Path) -> int:
    """1, with one line, where `make notebooks` would lose a cell of the notebook."""
    if line := advice(notebook) if is_edited(notebook) else "":
        print(f"error: {line}", file=sys.stderr)
    return int(bool(line))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
