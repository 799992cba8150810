"""JupyterLab in a headless Chromium opens 09, runs it and shows its figures, slider and sound."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import nbformat
import pytest
import websocket

from mmlib.files import NOTEBOOKS, ROOT

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no browser: apt-get install chromium"),
]
PATIENCE = 240  # seconds for any one thing
NOTEBOOK = "jupyterapp.shell.currentWidget.content"


def until(happened, what: str):
    """The first true value of `happened()`; fails after PATIENCE seconds."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if value := happened():
                return value
        except (OSError, KeyError, IndexError, ValueError):
            pass
        time.sleep(1)
    pytest.fail(f"{what} did not happen within {PATIENCE} s")


@contextmanager
def running(*command: str, **options):
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def lab(tmp_path):
    """Address of a JupyterLab that serves 09 without outputs, its application open to scripts."""
    notebook = nbformat.read(NOTEBOOKS / "09_your_clip.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
    nbformat.write(notebook, tmp_path / "09_your_clip.ipynb")
    token = secrets.token_hex(8)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "JUPYTER_PREFER_ENV_PATH": "1"}
    env.pop("MPLBACKEND", None)  # figures inline, as for a person
    flags = [
        f"--port={port}",
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={tmp_path}",
    ]
    with running(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
                 "--expose-app-in-browser", *flags, env=env):  # fmt: skip
        address = f"http://127.0.0.1:{port}"
        until(lambda: urllib.request.urlopen(f"{address}/api?token={token}"), "the server's start")
        yield f"{address}/lab/tree/09_your_clip.ipynb?token={token}&reset"


@pytest.fixture
def script(tmp_path, lab):
    """A function that evaluates JavaScript in the page and returns what it gives."""
    profile = tmp_path / "profile"
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    flags += ["--remote-debugging-port=0", "--no-first-run"]
    flags += ["--remote-allow-origins=*", f"--user-data-dir={profile}", "--window-size=1400,2400"]
    with running(CHROMIUM, *flags, lab):
        port = until(lambda: (profile / "DevToolsActivePort").read_text().split()[0], "Chromium")
        pages = f"http://127.0.0.1:{port}/json/list"
        (page, *_) = until(
            lambda: [p for p in json.load(urllib.request.urlopen(pages)) if p["type"] == "page"],
            "a page",
        )
        socket_ = websocket.create_connection(page["webSocketDebuggerUrl"], timeout=PATIENCE)
        numbers = count(1)

        def evaluate(code: str):
            number = next(numbers)
            asked = {"expression": code, "awaitPromise": True, "returnByValue": True}
            message = {"id": number, "method": "Runtime.evaluate", "params": asked}
            socket_.send(json.dumps(message))
            while (answer := json.loads(socket_.recv())).get("id") != number:
                pass
            return answer["result"]["result"].get("value")

        yield evaluate
        socket_.close()


def code_cells(script) -> list[dict]:
    cells = json.loads(script(f"JSON.stringify({NOTEBOOK}.model.toJSON().cells)"))
    return [cell for cell in cells if cell["cell_type"] == "code" and "".join(cell["source"])]


def run_all(script) -> list[dict]:
    """The code cells after all have run. A click that finds the page not ready is made again."""
    status = "jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status"
    until(lambda: script(f"{NOTEBOOK}.model.cells.length > 10"), "the notebook's opening")
    until(lambda: script(f"{status} === 'idle'"), "the kernel's start")

    def begun() -> bool:
        script("void jupyterapp.commands.execute('notebook:run-all-cells')")
        for _ in range(20):
            if script(f"{status} === 'busy'") or code_cells(script)[0]["execution_count"]:
                return True
            time.sleep(1)
        return False

    until(begun, "the run's start")
    until(lambda: code_cells(script)[-1]["execution_count"], "the last cell's turn")
    until(lambda: script(f"{status} === 'idle'"), "the run's end")
    return code_cells(script)


def test_the_notebook_runs_and_shows_its_figures(script):
    cells = run_all(script)
    counts = [cell["execution_count"] for cell in cells]
    assert None not in counts and counts == sorted(counts)
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    kinds = [kind for output in outputs for kind in output.get("data", {})]
    assert "image/png" in kinds and "application/vnd.jupyter.widget-view+json" in kinds
    script(f"{NOTEBOOK}.scrollToItem({NOTEBOOK}.widgets.length - 3).then(() => true)")
    shown = "['.widget-slider', 'audio', '.jp-OutputArea-output img']"
    until(
        lambda: script(f"{shown}.every(what => document.querySelector(what))"),
        "the slider, the sound and a figure",
    )
    heard = "document.querySelector('.jp-OutputArea-output audio source')?.src.slice(-1000)"
    first = script(heard)

    def next_utterance() -> bool:
        script("[...document.querySelectorAll('.jupyter-button')]"
               ".find(button => button.textContent === '▶').click()")  # fmt: skip
        time.sleep(2)
        return script(heard) not in (first, None)

    assert first
    until(next_utterance, "the next utterance's sound")


def test_the_command_lines_of_the_page_on_recordings(tmp_path):
    """The lines of "Your own recordings" that start with python, as written."""
    page = Path(ROOT / "notebooks/book/recordings.md").read_text()
    lines = [line for line in page.splitlines() if line.startswith("python ")]
    assert len(lines) >= 3
    (tmp_path / "data").mkdir()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "MMLIB_DATA": str(tmp_path / "data")}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    for line in lines:
        subprocess.run(["bash", "-c", line], cwd=tmp_path, env=env, check=True)
