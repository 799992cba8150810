"""The provenance of a result: code, versions, data, device, time, command."""

import logging
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

from mmlib.files import ROOT, environment, reason_of

log = logging.getLogger(__name__)

_STARTED = time.time()
_PACKAGES = ("mmlib", "numpy", "scipy", "scikit-learn", "torch", "transformers")
_WARNED: set[Path] = set()  # the warning about missing git information is printed once
UNKNOWN = "unknown"  # value of what git cannot tell
_WATCHED = ("--", ".", ":!papermill_runs", ":!figures", ":!*.ipynb")  # all but what runs write


def here(parameters: Mapping[str, object], checksums: Mapping[str, str]) -> dict:
    """Provenance from this process: commit, versions, device, seconds since import, command.

    `dirty`: whether files of code in git have uncommitted changes, True or False, or `UNKNOWN`.
    """
    changes = _git("status", "--porcelain", "--untracked-files=no", *_WATCHED)
    return {
        "commit": _git("rev-parse", "HEAD") or UNKNOWN,
        "dirty": UNKNOWN if changes is None else bool(changes),
        "versions": {"python": platform.python_version(), **{p: version(p) for p in _PACKAGES}},
        "parameters": dict(parameters),
        "data": dict(checksums),
        "device": device(),
        "seconds": round(time.time() - _STARTED, 1),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": environment("MMLIB_COMMAND") or _command_line(),
    }


def _command_line() -> str:
    """`python -m mmlib...` if this process was started like that; otherwise "by hand"."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    module = spec.name.removesuffix(".__main__") if spec else ""
    is_ours = module.partition(".")[0] == "mmlib"
    return shlex.join(["python", "-m", module, *sys.argv[1:]]) if is_ours else "by hand"


def diff() -> str:
    """SHA-256 of the uncommitted changes, "" if there are none, or `UNKNOWN`."""
    changes = _git("diff", "HEAD", *_WATCHED)
    if changes is None:
        return UNKNOWN
    return sha256(changes.encode()).hexdigest() if changes else ""


def _git(*arguments: str) -> str | None:
    """The stripped output of git; None and a warning if git fails."""
    how = dict(capture_output=True, errors="replace", check=True)  # any file may be in a diff
    try:
        return subprocess.run(["git", "-C", ROOT, *arguments], **how).stdout.strip()
    except subprocess.CalledProcessError as error:
        _warn(error.stderr.strip().partition("\n")[0])
    except OSError as error:
        _warn(reason_of(error))
    return None


def _warn(reason: str) -> None:
    if ROOT not in _WARNED:
        _WARNED.add(ROOT)
        log.warning("git does not tell the commit of this code, nor whether it was changed since "
                    "(%s): stored results say unknown", reason)  # fmt: skip


def device() -> str:
    """Name of torch's GPU if torch is loaded and has one; otherwise of the processor."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", info.read_text()) if info.exists() else []
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"
