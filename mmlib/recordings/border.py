"""Files read as text, and errors of readers as one line that names the file."""

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from traceback import extract_tb
from typing import TypeVar

from mmlib.data import DataError
from mmlib.files import reason_of

Reader = TypeVar("Reader", bound=Callable)


def names_file(reader: Reader) -> Reader:
    """Decorator of a reader whose first argument is a path: any of its errors becomes a DataError.

    The message names the file, the error and the line of code that raised it; the error itself is
    the cause. A DataError passes unchanged.
    """

    @wraps(reader)
    def named(path: Path | str, *arguments: object, **options: object) -> object:
        try:
            return reader(path, *arguments, **options)
        except DataError:
            raise
        except Exception as error:  # a decoder's or parser's own
            place = extract_tb(error.__traceback__)[-1]
            raise DataError(
                f"{path}: cannot be read ({type(error).__name__}: {reason_of(error)}; "
                f"{Path(place.filename).name}, line {place.lineno}); export or convert it again"
            ) from error

    return named


def read_text(path: Path, what: str) -> str:
    """The text of a file, line ends as line feeds; UTF-8, or UTF-16 with a byte order mark.

    DataError for a file that cannot be read, saying `what` it should be, or for another encoding.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; give the {what} of the clip") from None
    try:
        text = raw.decode("utf-16" if raw[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: wrong encoding, byte {error.start} is no UTF-8; save it as UTF-8"
        ) from None
    if "\0" in text:
        raise DataError(f"{path}: wrong encoding, zeros between the letters; save it as UTF-8")
    return re.sub(r"\r*\n|\r", "\n", text)  # copying in text mode doubles carriage returns
