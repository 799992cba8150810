"""Batches of texts of similar length."""

from collections.abc import Iterator, Sequence


def bucket(lengths: Sequence[int], budget: int, equal: bool = False) -> Iterator[list[int]]:
    """Yield batches of text indices, longest texts first, each of at most `budget` padded tokens.

    A batch also ends when its padding exceeds budget / 16 tokens, about the cost of starting a
    batch. equal: all texts of a batch have the same length.
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
