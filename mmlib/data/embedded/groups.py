"""Groups of an embedded corpus (speakers or hotels), their splits, and ids of utterances."""

import numpy as np

from mmlib.data.corpus import DataError

SIZE = 20  # utterances per group
SPLIT = np.array(["train"] * 7 + ["valid"] + ["test"] * 2)  # of every ten groups


def numbered(kind: str, n: int) -> tuple[np.ndarray, dict[str, object]]:
    """The group index of each utterance, (n,), and the ids, groups and splits of a `Corpus`.

    DataError if n is too small for three splits.
    """
    if n < 10 * SIZE:
        raise DataError(f"n={n} does not fill three splits; use {10 * SIZE} or more")
    group = np.arange(n) // SIZE
    names = [f"{kind}{g:03d}" for g in group]
    ids = tuple(f"{name}_{i:05d}" for i, name in enumerate(names))
    return group, {"ids": ids, "groups": tuple(names), "split": SPLIT[group % 10]}
