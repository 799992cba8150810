"""The border of this room: what a reader trips over leaves it as one line that names the file."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from traceback import extract_tb
from typing import TypeVar

from mmlib.data import DataError
from mmlib.files import reason_of

Reader = TypeVar("Reader", bound=Callable)


def names_file(reader: Reader) -> Reader:
    """The reader, whose first argument is a path; DataError where it trips over the content.

    The message names the file, the error and the line of code that met it; the error itself is
    attached as the cause.
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
