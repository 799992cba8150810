"""Soft targets of a teacher, stored on disk, and the loss with which a student learns from them.

A teacher's probabilities tell which wrong classes are almost right (Hinton et al. 2015). They are
computed once, e.g. by `mmlib.finetune.teacher`, and stored as .npz with the utterances' ids and
checksums of their texts.
Axes: s stack member, n utterances, b batch, k class.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import log_softmax, mse_loss

from mmlib.data import Corpus
from mmlib.dyfulm.model import COARSE, FINE, Output

FILE = "teacher.npz"  # name of the file in a folder
REMEDY = "make it by python -m mmlib.finetune.teacher from this data set and these settings"


class SoftTargets(NamedTuple):
    """A teacher's predictions for n utterances."""

    coarse: Tensor  # (n, 3) probabilities
    fine: Tensor  # (n, 5) probabilities
    intensity: Tensor  # (n,) in [0, 1]

    def take(self, rows: Tensor) -> "SoftTargets":
        """The utterances `rows` with a stack axis of 1: (1, b, ...) each."""
        return SoftTargets(*(values[rows][None] for values in self))


def digests(texts: Iterable[str]) -> np.ndarray:
    """A checksum of each text (n,): an id alone may be a row's number."""
    return np.array([sha256(text.encode()).hexdigest()[:16] for text in texts])


def load(path: Path, corpus: Corpus, train: np.ndarray) -> SoftTargets:
    """Soft targets of a corpus from a file, or from `FILE` in a folder; 0 outside rows `train`.

    ValueError, one line, if the file is missing or damaged, holds no probabilities, or lacks one of
    the utterances `train`: its id together with its text.
    """
    keys = list(zip(corpus.ids, digests(corpus.text), strict=True))
    path = path / FILE if path.is_dir() else path
    try:
        with np.load(path, allow_pickle=False) as arrays:
            known = zip(arrays["ids"], arrays["texts"], strict=True)
            there = {(str(name), str(text)): i for i, (name, text) in enumerate(known)}
            given = [arrays[name].astype(np.float32) for name in SoftTargets._fields]
    except FileNotFoundError:
        raise ValueError(f"teacher {path} is missing; {REMEDY}") from None
    except Exception:  # zipfile, zlib and numpy raise different errors
        raise ValueError(f"teacher {path} is damaged or no soft targets; {REMEDY}") from None
    if problem := _problem(given, len(there)):
        raise ValueError(f"teacher {path}: {problem}; {REMEDY}")
    if missing := [corpus.ids[i] for i in train if keys[i] not in there]:
        raise ValueError(
            f"teacher {path} knows {len(train) - len(missing)} of {len(train)} training "
            f"utterances and their texts, not {missing[0]!r}; {REMEDY}"
        )
    whole = [np.zeros((len(keys), *values.shape[1:]), np.float32) for values in given]
    for into, values in zip(whole, given, strict=True):
        into[train] = values[[there[keys[i]] for i in train]]
    return SoftTargets(*map(torch.from_numpy, whole))


def _problem(given: Sequence[np.ndarray], n: int) -> str:
    """The reason why arrays are not soft targets of n utterances; "" if they are."""
    shapes = [(n, COARSE), (n, FINE), (n,)]
    for name, values, shape in zip(SoftTargets._fields, given, shapes, strict=True):
        if values.shape != shape:
            return f"{name} has shape {values.shape}, not {shape}"
        if not ((values >= 0) & (values <= 1)).all():
            return f"{name} has values outside 0 to 1"
        if values.ndim == 2 and abs(values.sum(axis=1) - 1).max(initial=0) > 1e-3:
            return f"the probabilities of {name} do not sum to 1"
    return ""


def soft_losses(output: Output, soft: SoftTargets, temperature: float) -> Tensor:
    """Mean losses of a batch against its teacher, (s, 3): coarse, fine, intensity.

    For classes T^2 KL(p || q), with p and q the probabilities of teacher and student, softened by
    dividing logits by T. T^2 makes the size of the gradient independent of T (Hinton et al. 2015,
    section 2). For the intensity the squared error. All losses are 0 if student and teacher agree.
    """
    classes = [
        temperature**2 * _divergence(p, logits, temperature)
        for p, logits in ((soft.coarse, output.coarse), (soft.fine, output.fine))
    ]
    error = mse_loss(output.intensity.float(), soft.intensity, reduction="none")
    return torch.stack([*classes, error], dim=1).mean(dim=-1)


def _divergence(p: Tensor, logits: Tensor, temperature: float) -> Tensor:
    """KL divergence of probabilities p (s, b, k) from logits (s, b, k), both softened, (s, b)."""
    softened = log_softmax(p.clamp(min=1e-9).log() / temperature, dim=-1)
    student = log_softmax(logits.float() / temperature, dim=-1)
    return (softened.exp() * (softened - student)).sum(dim=-1)
