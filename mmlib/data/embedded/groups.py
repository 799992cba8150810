"""Groups of an embedded corpus, the speakers or hotels, their splits and the ids of utterances."""

import numpy as np

from mmlib.data.corpus import DataError

SIZE = 20  # utterances a group
SPLIT = np.array(["train"] * 7 + ["valid"] + ["test"] * 2)  # of every ten groups


def whole_groups(n: int) -> np.ndarray:
    """The number of each utterance's group, (n,); DataError if n is too small for three splits."""
    if n < 10 * SIZE:
        raise DataError(f"n={n} does not fill three splits; use {10 * SIZE} or more")
    return np.arange(n) // SIZE


def grouped(kind: str, groups: np.ndarray) -> dict[str, object]:
    """The ids, groups and splits of a `Corpus`, from each utterance's group (n,)."""
    names = [f"{kind}{g:03d}" for g in groups]
    return {
        "ids": tuple(f"{name}_{i:05d}" for i, name in enumerate(names)),
        "groups": tuple(names),
        "split": SPLIT[groups % 10],
    }
