"""Where things lie, from this file's own place and the environment; how a file is replaced."""

import os
import secrets
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
FIGURES = ROOT / "figures"
RUNS = ROOT / "papermill_runs"


def data_root() -> Path:
    """Folder of the data sets: `MMLIB_DATA`, else `data/` in the project."""
    return Path(os.environ.get("MMLIB_DATA") or ROOT / "data").expanduser().resolve()


def cache_root() -> Path:
    """Folder of the frozen-feature cache: `MMLIB_CACHE`, else `~/.cache/mmlib`."""
    home = os.environ.get("MMLIB_CACHE") or Path.home() / ".cache" / "mmlib"
    return Path(home).expanduser().resolve()


def point_folder() -> Path | None:
    """Folder of the one point of a grid that this process executes (`MMLIB_POINT`), if it does."""
    given = os.environ.get("MMLIB_POINT")
    return Path(given) if given else None


def write_whole(path: Path, content: bytes | str) -> None:
    """Replace a file so that a reader meets the old one or the new one, never a part."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
