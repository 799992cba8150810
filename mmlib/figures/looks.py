"""Each name's colour, marker, hatch and line style, the same in all figures.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart; the other signs keep
a figure readable in grey.
"""

from typing import NamedTuple
from zlib import crc32


class Look(NamedTuple):
    """How a name is drawn in every figure."""

    colour: str
    marker: str
    hatch: str
    line: str


LOOKS = {
    "text": Look("#0072B2", "o", "", "-"),
    "audio": Look("#E69F00", "s", "///", "--"),
    "vision": Look("#009E73", "^", "...", ":"),
    "noise": Look("#BBBBBB", "X", "xxx", "-."),
    "daf": Look("#D55E00", "D", "", "-"),
    "mean": Look("#56B4E9", "v", "\\\\\\", "--"),
    "static": Look("#CC79A7", "P", "---", "-."),
    "concat": Look("#0072B2", "p", "|||", ":"),
    "gmu": Look("#009E73", "h", "+++", (0, (5, 1))),
    "lmf": Look("#E69F00", "<", "ooo", (0, (3, 1, 1, 1))),
    "tfn": Look("#F0E442", ">", "OOO", (0, (1, 2))),
    "crossmodal": Look("#666666", "*", "***", (0, (7, 2, 1, 2))),
    "dyfulm": Look("#D55E00", "D", "", "-"),
    "single_a": Look("#0072B2", "o", "///", "--"),
    "single_b": Look("#009E73", "^", "...", "-."),
    "both": Look("#882255", "8", "...\\\\", (0, (6, 1))),
    "late": Look("#56B4E9", "X", "||", (0, (4, 2, 1, 2))),
    "tfidf": Look("#CC79A7", "P", "---", ":"),
    "logistic": Look("#56B4E9", "2", "xxx", (0, (2, 2))),
    "ridge": Look("#56B4E9", "1", "", (0, (1, 1))),
    "constant": Look("#BBBBBB", "|", "", ":"),
    "oracle": Look("#000000", "X", "", "--"),
    "coarse": Look("#0072B2", "o", "", "-"),
    "fine": Look("#D55E00", "D", "///", "--"),
    "intensity": Look("#009E73", "^", "...", ":"),
}
for m in ("text", "audio", "vision"):  # the same modality, read by a deeper model
    LOOKS[f"{m}_deep"] = LOOKS[m]._replace(marker="H", line=(0, (4, 1, 1, 1)))
    LOOKS[f"{m}_gated"] = LOOKS[m]._replace(marker="d", line=(0, (2, 1)))


COLOURS = ("#332288", "#117733", "#AA4499", "#999933", "#6699CC", "#661100", "#44AA99")
SIGNS = (("8", "//"), (">", "xx"), ("X", "oo"), ("<", "++"), ("p", ".."))
DASHES = ((0, (3, 2)), (0, (8, 2)), (0, (2, 3)), (0, (5, 1, 1, 1, 1, 1)), (0, (9, 3, 2, 3)))


def look(name: str) -> Look:
    """How a modality or model is drawn; a user's name has the same look in all runs.

    Names outside LOOKS share 175 other looks, chosen by the name alone.
    """
    at = crc32(name.encode())
    colour, dash = COLOURS[at % len(COLOURS)], DASHES[at // len(COLOURS) % len(DASHES)]
    marker, hatch = SIGNS[at // (len(COLOURS) * len(DASHES)) % len(SIGNS)]
    return LOOKS.get(name) or Look(colour, marker, hatch, dash)
