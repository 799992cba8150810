"""Where a result came from: code, versions, data, device, time, command."""

import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from mmlib.files import ROOT

_STARTED = time.time()
_PACKAGES = ("mmlib", "numpy", "scipy", "scikit-learn", "torch", "transformers")
_WATCHED = ("--", ".", ":!papermill_runs", ":!figures", ":!*.ipynb")  # less what runs write


def here(parameters: Mapping[str, object], checksums: Mapping[str, str]) -> dict:
    """This process: commit, versions, device, seconds since it began, and the command behind it."""
    return {
        "commit": _git("rev-parse", "HEAD") or "unknown",
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no", *_WATCHED)),
        "versions": {"python": platform.python_version(), **{p: version(p) for p in _PACKAGES}},
        "parameters": dict(parameters),
        "data": dict(checksums),
        "device": device(),
        "seconds": round(time.time() - _STARTED, 1),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": os.environ.get("MMLIB_COMMAND", "by hand"),
    }


def begin(module: str) -> None:
    """Take this process' command line, `python -m module ...`, for the command behind it."""
    os.environ.setdefault("MMLIB_COMMAND", shlex.join(["python", "-m", module, *sys.argv[1:]]))


def diff() -> str:
    """SHA-256 of the changes that no commit holds, "" if there are none."""
    changes = _git("diff", "HEAD", *_WATCHED)
    return sha256(changes.encode()).hexdigest() if changes else ""


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True)
    except FileNotFoundError:  # no git here
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def device() -> str:
    """The GPU torch computes on, if it is loaded and has one; else the processor."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", info.read_text()) if info.exists() else []
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"
