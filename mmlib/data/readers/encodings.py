"""The encoding of a table's words, found from its bytes."""

import codecs
import re
from contextlib import suppress
from pathlib import Path

from mmlib.data.corpus import DataError


def decoded(path: Path, raw: bytes, encoding: str | None = None) -> tuple[str, str]:
    """The text of a table and its encoding.

    UTF-8, with Windows-1252 for single bytes that are invalid or control characters; UTF-16 if
    there is a byte-order mark; one of `SCRIPTS` if the letters fit its script. NUL is removed,
    because parsers stop at it. DataError if none of these fits, or the given `encoding` does not.
    """
    if encoding:
        try:
            codecs.lookup(encoding)  # decoding nothing would not look it up
            return raw.decode(encoding).replace("\0", "").removeprefix("\ufeff"), encoding
        except (LookupError, UnicodeDecodeError) as error:
            words = f"{path.name}: no text in encoding {encoding!r} ({error}); name another"
            raise DataError(words) from None
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16").replace("\0", ""), "UTF-16"
    if raw.count(0) > len(raw) / 4:
        raise DataError(f"{path.name}: UTF-16 without its mark, half of it is zeros; save as UTF-8")
    text = raw.decode("utf-8-sig", errors="surrogateescape").replace("\0", "")
    if not _BROKEN.search(text):
        return text, "UTF-8"
    if _RUN.search(text) or sum(map(_is_foreign, raw.splitlines())) > 2:
        return _of_script(path, raw)
    text = _BROKEN.sub(lambda char: _REPAIRED[ord(char[0])], text)  # translate: 20 times slower
    return text, "UTF-8 and Windows-1252"


def _is_foreign(line: bytes) -> bool:
    """Whether most letters of a line, or four in a row, are not ASCII and not UTF-8."""
    plain, others = (len(re.findall(kind, line)) for kind in (rb"[A-Za-z]", rb"[\x80-\xff]"))
    runs = re.finditer(rb"(?:([\xa1-\xff])(?!\1)){4}", line)
    words = [line] if others > plain else [run[0] for run in runs]
    whole, *parts = (bytes_.decode(errors="replace") for bytes_ in (line, *words))
    return "\ufffd" in whole and any("\ufffd" in part for part in parts)  # a run may cut a letter


def _of_script(path: Path, raw: bytes) -> tuple[str, str]:
    """Decode with the encoding of SCRIPTS that gives letters of its script, also frequent ones.

    Any two bytes are a letter in GB18030, and any byte is one in Windows-1256. So other encodings
    decode, too, but to rare letters or to letters of several scripts; for these DataError.
    DataError also if some lines are UTF-8 and others are not.
    """
    lines = raw.splitlines()
    is_mixed = any(map(is_utf8, lines))
    for encoding, (script, frequent, share) in SCRIPTS.items():
        with suppress(UnicodeDecodeError):
            text = raw.decode(encoding)
            letters = "".join(filter(str.isalpha, re.sub(r"[\0-\x7f]", "", text)))
            of_script, often = (len(re.findall(f"[{s}]", letters)) for s in (script, frequent))
            if not is_mixed and of_script > 0.95 * len(letters) and often > share * len(letters):
                return text.replace("\0", ""), encoding.upper()
    if is_mixed:
        broken = ["\ufffd" in line.decode(errors="replace") for line in lines]
        first = broken.index(True) + 1
        raise DataError(
            f"{path.name}: its words are partly UTF-8 and partly not, as in line {first}; save "
            "each part as UTF-8, and join them again"
        )
    raise DataError(
        f"{path.name}: its words are neither UTF-8 nor Western; save as UTF-8, or name what it was "
        "saved in, say cp1251: by encoding= where you call load with its path, by --encoding of a "
        "command"
    )


def is_utf8(line: bytes) -> bool:
    """Whether a line is valid UTF-8 with at least four letters beyond ASCII: never by chance."""
    with suppress(UnicodeDecodeError):
        return sum(map(str.isalpha, re.sub(r"[\0-\x7f]", "", line.decode()))) > 3
    return False


# Encoding -> its script, frequent letters of it, and their minimum share: it is .27 and .32 in
# Chinese reviews, .51 in Arabic ones. Sentences in eight other encodings, misread as Chinese, had
# none; misread as Arabic at most .16, but .36 for ISO 8859-6, of whose letters .14 are then Latin.
SCRIPTS = {
    "gb18030": ("\u4e00-\u9fff",
                "的了不是一有我很好在到人也上个就大这没点来可要都们时说去么还", 0.1),
    "cp1256": ("\u0600-\u06ff", "اليمون", 0.35),
}  # fmt: skip
_RUN = re.compile(  # four non-Western letters, or no letter of Windows-1252 within a word
    "(?:([\udca1-\udcff])(?!\\1)){4}|(?<=[a-z])[\udc81\udc8d\udc8f\udc90\udc9d](?=[a-z])"
)
_CP1252 = {byte: bytes([byte]).decode("cp1252", errors="ignore") for byte in range(0x80, 0x100)}
_REPAIRED = {0xDC00 + byte: char for byte, char in _CP1252.items()} | {
    byte: char for byte, char in _CP1252.items() if byte < 0xA0
}
_BROKEN = re.compile("[\x80-\x9f\udc80-\udcff]")
