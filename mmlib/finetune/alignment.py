"""Common positions of two tokenizations of a text, by the characters of their tokens.

A gate mixes two encoders' states at one position of the text, so both need states there. In words
that both tokenizers split alike, each token is a position. Any other word (the text between two
spaces, including contractions and URLs) is one position, with the mean of its tokens' states. If
two tokenizers agree everywhere, positions are tokens, and nothing is averaged.
Axes: b batch, t token, p position; c counts the characters of a text.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

HEAD = 0.25  # share kept from the beginning of a text cut in the middle (Sun et al. 2019)
NOWHERE = -1  # position of special tokens, spaces, and tokens that the other tokenizer cut off


class Reading(NamedTuple):
    """The tokens of a text, from one tokenizer."""

    ids: np.ndarray  # (t,) int64
    spans: np.ndarray  # (t, 2): first character and one past the last; equal for special tokens
    cut: bool  # whether tokens were cut off


class Aligned(NamedTuple):
    """The common positions of two readings of a text, and the tokens that belong to them."""

    a: np.ndarray  # (t_a,) position of each token, or NOWHERE
    b: np.ndarray  # (t_b,)
    spans: np.ndarray  # (p, 2) first character of each position, and one past its last


def read(
    tokenizer: Any, texts: Sequence[str], max_length: int, truncation: str = "end"
) -> list[Reading]:
    """Ids and character offsets of each text, at most `max_length` tokens, special ones included.

    truncation: where a longer text is cut, at the "end" or in the "middle". ValueError for a
    tokenizer without offsets.
    """
    check(tokenizer)
    limit = {"truncation": True, "max_length": max_length} if truncation == "end" else {}
    output = tokenizer(list(texts), verbose=False, **limit)
    return [_reading(encoding, max_length) for encoding in output.encodings]


def check(tokenizer: Any) -> None:
    """ValueError for a tokenizer that does not give the characters of its tokens."""
    if not tokenizer.is_fast:
        raise ValueError(
            f"{type(tokenizer).__name__} is no fast tokenizer, so its tokens have no place in the "
            "text; use an encoder with a tokenizer.json"
        )


def _reading(encoding: Any, max_length: int) -> Reading:
    special = np.array(encoding.special_tokens_mask, dtype=bool)[:, None]
    spans = np.where(special, 0, np.array(encoding.offsets).reshape(-1, 2))
    ids, over = np.array(encoding.ids), len(encoding.ids) - max_length
    if over > 0:
        head = max(1, round(HEAD * max_length))
        ids, spans = (np.delete(x, np.s_[head : head + over], axis=0) for x in (ids, spans))
    return Reading(ids, spans, over > 0 or bool(encoding.overflowing))


def align(text: str, a: Reading, b: Reading) -> Aligned:
    """Positions that both readings of a text contain, in order.

    If there is none (both were cut within the first word), the whole text is one position.
    """
    space = _spaces(text)
    spans = [_trimmed(reading.spans, space) for reading in (a, b)]
    words = _words(space, np.concatenate(spans))  # (c + 1,)
    word = [words[ends[:, 0]] for ends in spans]  # of each token
    filled = [ends[:, 1] > ends[:, 0] for ends in spans]  # tokens that have characters
    tokens = [w[has] for w, has in zip(word, filled, strict=True)]
    counts = [np.bincount(w, minlength=len(words)) for w in tokens]  # tokens of each word
    shared = (counts[0] > 0) & (counts[1] > 0)  # of each word: whether both readings reach it
    placed = [has & shared[w] for w, has in zip(word, filled, strict=True)]
    cut_alike = counts[0] == counts[1]  # of each word
    one, other = (np.flatnonzero(has & cut_alike[w]) for w, has in zip(word, placed, strict=True))
    differs = (spans[0][one] != spans[1][other]).any(axis=1)
    cut_alike[word[0][one][differs]] = False
    positions = [_positions(w, has, cut_alike) for w, has in zip(word, placed, strict=True)]
    if not placed[0].any():
        return _one_position(text, a, b)
    return Aligned(*positions, _extents(positions[0], spans[0]))


def align_alone(text: str, reading: Reading) -> Aligned:
    """`align` of a reading with itself: each token with characters is a position."""
    spans = _trimmed(reading.spans, _spaces(text))
    filled = spans[:, 1] > spans[:, 0]
    if not filled.any():
        return _one_position(text, reading, reading)
    positions = np.where(filled, np.cumsum(filled) - 1, NOWHERE)
    return Aligned(positions, positions, spans[filled])


def _one_position(text: str, a: Reading, b: Reading) -> Aligned:
    """Make the whole text, with all tokens, one position."""
    zeros = (np.zeros(len(reading.ids), dtype=int) for reading in (a, b))
    return Aligned(*zeros, np.array([[0, len(text)]]))


def _spaces(text: str) -> np.ndarray:
    return np.fromiter(map(str.isspace, text), bool, len(text))  # (c,)


def _trimmed(spans: np.ndarray, space: np.ndarray) -> np.ndarray:
    """Remove from the spans the spaces that some tokenizers include in a token."""
    c = len(space)
    at = np.arange(c)
    following = np.minimum.accumulate(np.where(space, c, at)[::-1])[::-1]
    preceding = np.maximum.accumulate(np.where(space, 0, at + 1))
    start = np.append(following, c)[spans[:, 0]]
    end = np.insert(preceding, 0, 0)[spans[:, 1]]
    return np.stack([start, np.maximum(start, end)], axis=1)


def _words(space: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """Index of the word of each character and of the end of the text, (c + 1,).

    Words that share a token count as one.
    """
    first = ~space & np.insert(space, 0, True)[:-1]
    word = np.cumsum(first)
    spans = spans[spans[:, 1] > spans[:, 0]]
    for start, end in spans[word[spans[:, 0]] != word[spans[:, 1] - 1]]:
        first[start + 1 : end] = False
    return np.append(np.cumsum(first), 0)


def _positions(word: np.ndarray, placed: np.ndarray, cut_alike: np.ndarray) -> np.ndarray:
    """Position of each placed token: one per token in words split alike, else one per word."""
    word = word[placed]
    begins = cut_alike[word] | (np.diff(word, prepend=-1) != 0)
    positions = np.full(len(placed), NOWHERE)
    positions[placed] = np.cumsum(begins) - 1
    return positions


def _extents(positions: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """First character of each position and one past its last, (p, 2)."""
    tokens = np.flatnonzero(positions != NOWHERE)
    _, first, counts = np.unique(positions[tokens], return_index=True, return_counts=True)
    last = first + counts - 1
    return np.stack([spans[tokens[first], 0], spans[tokens[last], 1]], axis=1)


def pool(states: Tensor, positions: Tensor, p: int) -> Tensor:
    """Mean state at each of p positions, (b, p, ...), from token states (b, t, ...).

    positions: (b, t), NOWHERE for tokens without one. Positions without a token get 0.
    """
    at = torch.arange(p, device=positions.device)
    chosen = (positions[:, None] == at[:, None]).to(states.dtype)  # (b, p, t)
    sums = chosen @ states.flatten(2)  # one matrix product for all layers
    means = sums / chosen.sum(dim=-1, keepdim=True).clamp(min=1)
    return means.unflatten(2, states.shape[2:])
