"""Tests run offline, on one thread, without a display."""

import os
import signal
from contextlib import suppress

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from mmlib import files

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "agg")
with suppress(ValueError):  # a shell's background jobs ignore Ctrl-C, and so would all they start
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem.endswith("_real"):
            item.add_marker("real")


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A project of its own, and how to put small notebooks into it."""
    for name in ("notebooks", "papermill_runs/grids"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(files, "ROOT", tmp_path)
    monkeypatch.setattr(files, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(files, "FIGURES", tmp_path / "figures")
    monkeypatch.setattr(files, "RUNS", tmp_path / "papermill_runs")
    return Small(tmp_path)


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """The option for a scheduler and two workers on loopback."""
    from mmlib.batch import engine

    with engine.connect(None, 2, 4, tmp_path_factory.getbasetemp()) as client:
        yield ["--scheduler", client.scheduler.address]


class Small:
    def __init__(self, root) -> None:
        self.root, self.runs = root, root / "papermill_runs"

    def notebook(self, name: str, parameters: str, code: str, *tags: str) -> None:
        cell = new_code_cell(parameters)
        cell.metadata["tags"] = ["parameters", *tags]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        whole = new_notebook(cells=[cell, new_code_cell(code)], metadata={"kernelspec": kernel})
        nbformat.write(whole, self.root / "notebooks" / f"{name}.ipynb")

    def grid(self, name: str, text: str) -> None:
        (self.runs / "grids" / f"{name}.yaml").write_text(text)

    def folders(self, run: str) -> list[str]:
        there = (path.name for path in (self.runs / run).iterdir())
        return sorted(name for name in there if not name.startswith("."))

    def printed(self, run: str, folder: str) -> str:
        (path,) = (self.runs / run / folder).glob("*.ipynb")
        return nbformat.read(path, as_version=4).cells[-1].outputs[0].text
