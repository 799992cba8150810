"""Compares a notebook with the `.py` of the same name: which has cells that the other lacks?

python -m mmlib.batch.pairs notebooks/02_daf.ipynb     refuses where a cell would be lost

`make notebooks` runs this first, because it overwrites the notebook's cells by those of the `.py`.
"""

import os
import sys
from pathlib import Path

from mmlib.batch.parameters import cells, imported


def advice(notebook: Path) -> tuple[str, bool]:
    """A line about differing cells ("" if none), and whether `make notebooks` would lose a cell.

    A cell would be lost if the `.ipynb` is newer and has cells that the `.py` lacks.
    """
    source, name = notebook.with_suffix(".py"), notebook.stem
    if not (source.exists() and notebook.exists()):
        return "", False
    both = imported("jupytext").read(source).cells, cells(notebook)
    written, executed = ([(c.cell_type, c.source.strip()) for c in side] for side in both)
    is_newer = notebook.stat().st_mtime_ns > source.stat().st_mtime_ns
    if is_newer and any(executed.count(cell) > written.count(cell) for cell in executed):
        here = os.path.relpath(notebook.parent)
        return (
            f"{name}: its .ipynb is newer and has cells that the .py lacks; jupytext --to "
            f"py:percent {here}/{name}.ipynb takes them over, touch {here}/{name}.py gives them up"
        ), True
    differs = "its .py has other cells than the .ipynb, which is what runs"
    line = f"{name}: {differs}; make notebooks ONLY={name} takes them over"
    return line if written != executed else "", False


def main(notebook: Path) -> int:
    """Exit status 1, with one line, if `make notebooks` would lose a cell of the notebook."""
    line, is_lost = advice(notebook)
    if is_lost:
        print(f"error: {line}", file=sys.stderr)
    return int(is_lost)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
