"""Make `Sequences` from frames: handles NaN, infinity and all-zero frames."""

import numpy as np

from mmlib.data.corpus import DataError, Sequences, noted


def pack(
    modality: str,
    values: np.ndarray,
    owner: np.ndarray,
    n: int,
    columns: tuple[str, ...],
    notes: list[str],
) -> Sequences:
    """Sequences of n utterances from frames (f, d); frame i is of utterance owner[i], ascending.

    NaN and infinite values (also those that overflow float32) become 0 and are counted per column.
    A frame that is zero in all columns is padding or a face that was not found: it is left out,
    wherever it is. An utterance without any other frame gets length 0. What was filled or left out
    is appended to `notes`. DataError if no value is finite.
    """
    with np.errstate(over="ignore"):
        values = np.array(values, dtype=np.float32)  # a copy: the caller's array does not change
    nan, inf = np.isnan(values), np.isinf(values)  # (f, d)
    if values.size and (nan | inf).all():
        raise DataError(f"{modality}: no finite value; drop the modality or extract it again")
    filled = np.stack([nan.sum(0), inf.sum(0)])  # (2, d)
    values[nan | inf] = 0
    kept = (values != 0).any(axis=1)  # (f,)
    lengths = np.bincount(np.asarray(owner)[kept], minlength=n)
    (n_nan, n_inf), in_columns = filled.sum(axis=1), int(filled.any(axis=0).sum())
    zero, missing = int((~kept).sum()), int((lengths == 0).sum())
    counts = {
        f"{n_nan} NaN and {n_inf} infinite values in {in_columns} columns set to 0": in_columns,
        f"{zero} all-zero frames left out (padding, no face found)": zero,
        f"missing for {missing} utterances (length 0)": missing,
    }
    notes += [f"{modality}: {note}" for note in noted(counts)]
    return Sequences(values[kept], lengths, columns, filled if filled.any() else None)
