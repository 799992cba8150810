"""Texts as two encoders read them, and the batches of a training run.

A step of the optimizer takes `batch` examples of like length; each process takes its share of them
and cuts it into batches of at most so many tokens, padding included. What step k of a run with a
seed consists of follows from the two alone, so a run can go on from any step.
Axes: b batch, t token, p position.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mmlib.finetune.alignment import NOWHERE, align, check, read, tokens
from mmlib.text.batching import bucket

POOL = 50  # steps among whose examples those of like length are put together


class Batch(NamedTuple):
    """Padded token ids of one or two encoders, and their tokens' common positions."""

    rows: np.ndarray  # (b,) which texts
    ids: tuple[Tensor, ...]  # (b, t) each encoder
    attended: tuple[Tensor, ...]  # (b, t) 1 at real tokens
    places: tuple[Tensor, ...] | None  # (b, t) position of each token; None: it is the token
    mask: Tensor  # (b, p) valid positions

    def to(self, device: torch.device) -> "Batch":
        def moved(several: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(one.to(device, non_blocking=True) for one in several)

        places = None if self.places is None else moved(self.places)
        return Batch(self.rows, moved(self.ids), moved(self.attended), places, self.mask.to(device))


@dataclass(frozen=True)
class Tokens:
    """n texts as one or two encoders read them."""

    ids: list[tuple[np.ndarray, ...]]  # n of (t,) each encoder
    places: list[tuple[np.ndarray, ...]]  # n of (t,) each encoder
    spans: list[np.ndarray]  # n of (p, 2): characters of each common position
    padding: tuple[int, ...]  # token id, each encoder
    cut: np.ndarray  # (n,) bool: longer than max_length for either encoder
    lengths: np.ndarray  # (n,) tokens of the encoder that has more

    def batch(self, rows: Sequence[int]) -> Batch:
        """The texts `rows`, padded to the longest of them."""
        ids = [_padded([self.ids[i][k] for i in rows], pad) for k, pad in enumerate(self.padding)]
        sides = range(len(self.padding))
        places = [_padded([self.places[i][k] for i in rows], NOWHERE) for k in sides]
        counts = [[len(self.ids[i][k]) for i in rows] for k in sides]
        attended = [
            _first(torch.tensor(count), len(one[0])) for count, one in zip(counts, ids, strict=True)
        ]
        is_token = all(torch.equal(places[0], other) for other in places[1:])
        is_token = is_token and all(_each_its_own(self.places[i][0]) for i in rows)
        if is_token:
            return Batch(np.asarray(rows), tuple(ids), tuple(attended), None, places[0] != NOWHERE)
        most = torch.stack([side.amax(dim=1) + 1 for side in places]).amax(dim=0)  # (b,)
        mask = _first(most, int(most.max())).bool()
        return Batch(np.asarray(rows), tuple(ids), tuple(attended), tuple(places), mask)


def _padded(rows: list[np.ndarray], value: int) -> Tensor:
    return pad_sequence(
        [torch.from_numpy(row).long() for row in rows], batch_first=True, padding_value=value
    )


def _first(counts: Tensor, t: int) -> Tensor:
    """1 at the first `counts` (b,) of t places, (b, t) int64."""
    return (torch.arange(t) < counts[:, None]).long()


def _each_its_own(places: np.ndarray) -> bool:
    placed = places[places != NOWHERE]
    return len(placed) == placed[-1] + 1


def tokenize(
    texts: Sequence[str], tokenizers: Sequence[Any], max_length: int, truncation: str = "end"
) -> Tokens:
    """Read texts with one or two tokenizers, at most `max_length` tokens of each.

    ValueError for a tokenizer that is not fast.
    """
    for tokenizer in tokenizers:
        check(tokenizer)
    is_same = len(tokenizers) == 1 or _same(*tokenizers)
    distinct = tokenizers[:1] if is_same else tokenizers
    readings = [read(tokenizer, texts, max_length, truncation) for tokenizer in distinct]
    if is_same:
        readings *= len(tokenizers)
    ids = [tuple(one.ids.astype(np.int32) for one in both) for both in zip(*readings, strict=True)]
    places, spans = [], []
    for text, *both in zip(texts, *readings, strict=True):
        aligned = tokens(text, both[0]) if is_same else align(text, *both)
        places.append(tuple(side.astype(np.int32) for side in aligned[: len(both)]))
        spans.append(aligned.spans.astype(np.int32))
    cut = np.array([any(one.cut for one in both) for both in zip(*readings, strict=True)])
    lengths = np.array([max(map(len, both)) for both in ids])
    padding = tuple(tokenizer.pad_token_id or 0 for tokenizer in tokenizers)
    return Tokens(ids, places, spans, padding, cut, lengths)


def _same(one: Any, other: Any) -> bool:
    return one.backend_tokenizer.to_str() == other.backend_tokenizer.to_str()


def steps(lengths: np.ndarray, batch: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Rows of each step of an epoch: all once, in random order, those of like length together."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    pools = np.split(order, range(POOL * batch, len(order), POOL * batch))
    sorted_ = [pool[np.argsort(lengths[pool], kind="stable")] for pool in pools]
    cut = [part for pool in sorted_ for part in np.split(pool, range(batch, len(pool), batch))]
    return [cut[i] for i in rng.permutation(len(cut))]


def share(
    lengths: np.ndarray, rows: np.ndarray, budget: int, process: int = 0, processes: int = 1
) -> Iterator[np.ndarray]:
    """One process' part of `rows` in batches of at most `budget` tokens, padding included."""
    mine = rows[process::processes]
    if len(mine):
        for part in bucket(lengths[mine].tolist(), budget):
            yield mine[part]
