"""Limits on the content of a file, and one-line errors for files that cannot be read.

A small file can expand to far more than its size: a gzip of zeros, an HDF5 array whose shape was
never filled, nested lists that repeat each other. The declared size of the content is compared with
the size of the file before anything is built.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmlib.data.corpus import DataError

ALWAYS = 2**26  # bytes of content that any file may have
RATIO = 100  # bytes of content per byte of the file; well-compressed padded arrays reach about 30


def most(path: Path) -> int:
    """Maximum number of bytes of content of a file; only compressed files can exceed it."""
    return ALWAYS + RATIO * path.stat().st_size


def check_size(path: Path, content: int, kind: str = "content") -> None:
    """DataError if `content`, in bytes, is more than a file of this size may have."""
    if content > most(path):
        raise DataError(
            f"{path.name}: too large, its {path.stat().st_size} bytes expand to {content:.2g} "
            f"of {kind}, more than {RATIO} times as many; fetch it again, or save it without "
            "compression"
        )


@contextmanager
def readable(path: Path, failure: str = "", remedy: str = "fetch it again") -> Iterator[None]:
    """Turn a library's error about a damaged file into a one-line DataError that names the file."""
    try:
        with open(path, "rb") as file:
            head = file.read(2**10).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
        if head.startswith((b"<!doctype", b"<html", b"<?xml")):
            raise DataError("a web page; follow the link on it and save the file itself")
        yield
    except DataError as error:
        named = "" if path.name in str(error) else f"{path.name}: "
        raise DataError(f"{named}{error}") from error.__cause__
    except FileNotFoundError:
        raise DataError(f"missing file {path}; put it beside the others") from None
    except PermissionError:
        raise DataError(f"{path.name}: you may not read it; correct its rights") from None
    except Exception as error:  # each library raises its own errors for damaged files
        words = " ".join(str(error).split())[:300] or type(error).__name__
        words = f"{failure} ({words})" if failure else words
        if "Error tokenizing data. C error: Expected" in words:  # pandas' error: too many cells
            remedy = "put texts that hold a separator in quotes, and write quotes in them twice"
        raise DataError(f"{path.name}: {words}; {remedy}") from error
