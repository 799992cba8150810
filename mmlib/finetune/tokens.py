"""Texts as tokenized for one or two encoders, and the batches of a training run.

A step of the optimizer uses `batch` examples of similar length. Each process takes its share and
divides it into batches of a maximum number of tokens, padding included. The examples of step k
depend only on seed and k, so a run can be resumed at any step.
Axes: b batch, t token, p position.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mmlib.finetune.alignment import NOWHERE, align, align_alone, check, read
from mmlib.text.batching import bucket

POOL = 50  # number of steps whose examples are sorted by length


class Batch(NamedTuple):
    """Padded token ids of one or two encoders, and their tokens' common positions."""

    rows: np.ndarray  # (b,) row numbers of the texts
    ids: tuple[Tensor, ...]  # (b, t) for each encoder
    attended: tuple[Tensor, ...]  # (b, t) 1 at real tokens
    positions: tuple[Tensor, ...] | None  # (b, t) position of each token; None: the tokens
    mask: Tensor  # (b, p) valid positions


@dataclass(frozen=True)
class Tokens:
    """n texts, tokenized for one or two encoders."""

    ids: list[tuple[np.ndarray, ...]]  # of each text: (t,) for each encoder
    positions: list[tuple[np.ndarray, ...]]  # of each text: (t,) for each encoder, or NOWHERE
    spans: list[np.ndarray]  # of each text: (p, 2) characters of each common position
    padding: tuple[int, ...]  # padding token id of each encoder
    cut: np.ndarray  # (n,) bool: longer than max_length for either encoder
    lengths: np.ndarray  # (n,) number of tokens, of the encoder that has more

    def batch(self, rows: Sequence[int]) -> Batch:
        """The texts `rows`, padded to the longest of them."""
        sides = range(len(self.padding))
        ids = [[self.ids[i][k] for i in rows] for k in sides]
        counts = [torch.tensor(list(map(len, side))) for side in ids]
        attended = tuple(_ones_at_first(count, int(count.max())) for count in counts)
        ids = tuple(_padded(side, pad) for side, pad in zip(ids, self.padding, strict=True))
        positions = [_padded([self.positions[i][k] for i in rows], NOWHERE) for k in sides]
        is_token = all(torch.equal(positions[0], other) for other in positions[1:])
        if is_token and all(_has_one_token_each(self.positions[i][0]) for i in rows):
            return Batch(np.asarray(rows), ids, attended, None, positions[0] != NOWHERE)
        most = torch.stack([side.amax(dim=1) + 1 for side in positions]).amax(dim=0)  # (b,)
        mask = _ones_at_first(most, int(most.max())).bool()
        return Batch(np.asarray(rows), ids, attended, tuple(positions), mask)


def _padded(rows: list[np.ndarray], value: int) -> Tensor:
    return pad_sequence(
        [torch.from_numpy(row).long() for row in rows], batch_first=True, padding_value=value
    )


def _ones_at_first(counts: Tensor, t: int) -> Tensor:
    """1 at the first `counts` (b,) of t places, else 0, (b, t) int64."""
    return (torch.arange(t) < counts[:, None]).long()


def _has_one_token_each(positions: np.ndarray) -> bool:
    placed = positions[positions != NOWHERE]
    return len(placed) == placed[-1] + 1


def tokenize(
    texts: Sequence[str], tokenizers: Sequence[Any], max_length: int, truncation: str = "end"
) -> Tokens:
    """Tokenize texts for one or two encoders, at most `max_length` tokens each.

    ValueError for a tokenizer that is not fast.
    """
    for tokenizer in tokenizers:
        check(tokenizer)
    is_same = len({tokenizer.backend_tokenizer.to_str() for tokenizer in tokenizers}) == 1
    distinct = tokenizers[:1] if is_same else tokenizers
    readings = [read(tokenizer, texts, max_length, truncation) for tokenizer in distinct]
    readings *= len(tokenizers) if is_same else 1
    ids, positions, spans = [], [], []
    for text, *sides in zip(texts, *readings, strict=True):
        aligned = align_alone(text, sides[0]) if is_same else align(text, *sides)
        ids.append(tuple(side.ids.astype(np.int32) for side in sides))
        positions.append(tuple(side.astype(np.int32) for side in aligned[: len(sides)]))
        spans.append(aligned.spans.astype(np.int32))
    cut = np.array([any(side.cut for side in sides) for sides in zip(*readings, strict=True)])
    lengths = np.array([max(map(len, sides)) for sides in ids])
    padding = tuple(tokenizer.pad_token_id or 0 for tokenizer in tokenizers)
    return Tokens(ids, positions, spans, padding, cut, lengths)


def steps(lengths: np.ndarray, batch: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Rows of each step of an epoch: each row once, in random order, similar lengths together."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    pools = np.split(order, range(POOL * batch, len(order), POOL * batch))
    by_length = [pool[np.argsort(lengths[pool], kind="stable")] for pool in pools]
    parts = [part for pool in by_length for part in np.split(pool, range(batch, len(pool), batch))]
    return [parts[i] for i in rng.permutation(len(parts))]


def batches(
    lengths: np.ndarray, rows: np.ndarray, budget: int, process: int = 0, processes: int = 1
) -> Iterator[np.ndarray]:
    """A process' share of `rows`, in batches of at most `budget` tokens, padding included."""
    part = rows[process::processes]
    if len(part):
        yield from (part[batch] for batch in bucket(lengths[part].tolist(), budget))
