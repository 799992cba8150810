"""Batches of texts of like length."""

from collections.abc import Iterator, Sequence


def bucket(lengths: Sequence[int], budget: int, equal: bool = False) -> Iterator[list[int]]:
    """Indices of texts of like length, longest first; a batch is at most `budget` tokens padded.

    It also ends when its padding has cost more than the start of a batch, about budget / 16.
    equal: all texts of a batch are of one length.
    """
    batch, longest, padding = [], 0, 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        is_full = (len(batch) + 1) * longest > budget or padding > budget // 16
        if batch and (is_full or (equal and lengths[i] < longest)):
            yield batch
            batch, padding = [], 0
        longest = longest if batch else lengths[i]
        batch.append(i)
        padding += longest - lengths[i]
    yield batch
