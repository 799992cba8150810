"""What a file may hold, and the one line that says why it cannot be read.

A small file can stand for far more than it holds: a gzip of zeros, an HDF5 array of a shape that
nobody filled, a list that occurs ten times in a list that does. What a file declares is compared
with its size before anything of it is built.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmlib.data.corpus import DataError

ALWAYS = 2**26  # bytes that any file may hold
RATIO = 100  # bytes of content for one of the file; padded arrays, packed well, reach about 30


def most(path: Path) -> int:
    """Bytes of content that a file may hold: whatever it likes as long as it is not packed."""
    return ALWAYS + RATIO * path.stat().st_size


def check_size(path: Path, content: int, kind: str = "content") -> None:
    """DataError where `content`, in bytes, is more than a file of its size may hold."""
    if content > most(path):
        raise DataError(
            f"{path.name}: too large, its {path.stat().st_size} bytes stand for {content:.2g} of "
            f"{kind}, more than {RATIO} times as many; fetch it again, or save it without "
            "compression"
        )


@contextmanager
def readable(path: Path, failure: str = "", remedy: str = "fetch it again") -> Iterator[None]:
    """What a library says of a damaged file, as a DataError of one line that names the file."""
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
    except Exception as error:  # each library has its own, and damage finds yet others
        words = " ".join(str(error).split())[:300] or type(error).__name__
        words = f"{failure} ({words})" if failure else words
        raise DataError(f"{path.name}: {words}; {remedy}") from error
