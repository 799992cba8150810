"""Frames in, `Sequences` out: what is no number, what is no measurement."""

import numpy as np

from mmlib.data.corpus import DataError, Sequences


def pack(
    modality: str, values: np.ndarray, owner: np.ndarray, n: int, columns: tuple[str, ...]
) -> tuple[Sequences, list[str]]:
    """Sequences of n utterances from frames (f, d); frame i is of utterance owner[i], ascending.

    NaN and infinite values (also what overflows float32) become 0 and are counted per column.
    A frame of zeros in all columns is padding or a face that was not found: nothing was measured,
    so it is left out, wherever it stands; an utterance without any other frame gets length 0.
    Returns the sequences and notes on both. Raises DataError if no value is finite.
    """
    with np.errstate(over="ignore"):
        values = np.array(values, dtype=np.float32)  # a copy: the caller's array stays as it is
    if values.ndim != 2 or values.shape[1] != len(columns):
        raise DataError(f"{modality}: {len(columns)} columns declared, frames are {values.shape}")
    nan, inf = np.isnan(values), np.isinf(values)  # (f, d)
    if values.size and (nan | inf).all():
        raise DataError(
            f"{modality}: no finite value at all; drop the modality or extract it again"
        )
    filled = np.stack([nan.sum(0), inf.sum(0)])  # (2, d)
    values[nan | inf] = 0
    kept = (values != 0).any(axis=1)  # (f,)
    lengths = np.bincount(np.asarray(owner)[kept], minlength=n)
    sequences = Sequences(values[kept], lengths, columns, filled if filled.any() else None)
    return sequences, _notes(modality, sequences, int((~kept).sum()))


def pack_padded(
    modality: str,
    arrays: list[np.ndarray],
    columns: tuple[str, ...],
    lengths: list[np.ndarray] | None = None,
) -> tuple[Sequences, list[str]]:
    """`pack` for padded arrays (n, t, d), one after another, rows cut to their first `lengths`."""
    frames, owner, n = [], [], 0
    for i, array in enumerate(arrays):
        cut = array.shape[1] if lengths is None else lengths[i][:, None]
        valid = np.broadcast_to(np.arange(array.shape[1]) < cut, array.shape[:2])  # (n, t)
        frames.append(array[valid])
        owner.append(n + np.nonzero(valid)[0])
        n += len(array)
    return pack(modality, np.concatenate(frames), np.concatenate(owner), n, columns)


def _notes(modality: str, sequences: Sequences, dropped: int) -> list[str]:
    notes = []
    if sequences.filled is not None:
        nan, inf = sequences.filled.sum(axis=1)
        n_columns = int(sequences.filled.any(axis=0).sum())
        notes.append(
            f"{modality}: {nan} NaN and {inf} infinite values in {n_columns} columns set to 0"
        )
    if dropped:
        notes.append(f"{modality}: {dropped} all-zero frames left out (padding, no face found)")
    missing = int((sequences.lengths == 0).sum())
    if missing:
        notes.append(f"{modality}: missing for {missing} utterances (length 0)")
    return notes
