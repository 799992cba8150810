"""Both papers in one model: DyFuLM's text state is one of the modalities that DAF weights.

DyFuLM's authors ask whether it can use audio and video. This is our answer, and our reading:

    h       = DyFuLM's fused state of the text (`mmlib.dyfulm.model`)
    h_text  = tanh(h)                         or h, if the switch `tanh` is off
    h_m     = tanh(W_m x_m + b_m)             m = audio, vision: DAF's projections
    alpha   = DAF's weights of an utterance   over the modalities that it has (`mmlib.daf.fusion`)
    z       = sum_m alpha_m h_m
    y_c     = f_coarse(z),  y_i = sigma(f_intensity(z))   or without sigma, if `sigmoid` is off
    y_f     = f_fine(z * Guidance(y_c, y_i))

Switches beside DyFuLM's own: `rule`, any fusion rule of `mmlib.daf` instead of DAF's weights;
`tanh`; `sigmoid`; `heads`, False for one affine head that predicts the sentiment. Modalities that
the features lack are off. Two special cases are exact. On text alone with `tanh` off, this model is
DyFuLM. With one encoder's last layer, and `heads` and `sigmoid` off, it is DAF on that layer, also
in training. Initial weights are drawn in an order that suits both cases, so models trained from
the same seeds agree, too.
Axes: s stack member, b batch, t position, m modality, l layer, d feature, h hidden, n utterances.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mmlib.daf import features as daf_features
from mmlib.daf import fusion
from mmlib.daf.train import error
from mmlib.data import Corpus, DataError
from mmlib.data.targets import Targets
from mmlib.dyfulm import frozen, losses
from mmlib.dyfulm.frozen import ENCODERS, Learner
from mmlib.dyfulm.model import DyFuLM, Noise, Output
from mmlib.stack import task, training
from mmlib.stack.loop import OnStep
from mmlib.stack.task import Member
from mmlib.stack.training import Fit
from mmlib.stack.vectors import Features

TEXT = "text"


class Joint(DyFuLM):
    """DyFuLM whose heads read DAF's fusion of the text state and the other modalities."""

    def __init__(
        self,
        dims: tuple[int, int],
        layers: tuple[int, int],
        others: Mapping[str, int],
        width: int = 64,
        s: int = 1,
        rule: str = "daf",
        tanh: bool = True,
        sigmoid: bool = True,
        heads: bool = True,
        **switches: object,
    ) -> None:
        """dims, layers, switches: as in DyFuLM; others: modality -> number of features.

        ValueError for an unknown switch, or for heads=False together with sigmoid=True.
        """
        if sigmoid and not heads:
            raise ValueError("one head predicts the sentiment, -3 to 3: it needs sigmoid=False")
        super().__init__(dims, layers, width, s, **switches)
        self.tanh, self.sigmoid = tanh, sigmoid
        daf = fusion.create(rule, {TEXT: width, **others}, s, width=width)
        after = {name: getattr(self, name) for name in ("coarse", "intensity", "guide", "fine")}
        for name in after:
            delattr(self, name)  # put back below: DAF's projections draw weights before the heads
        self.project = nn.ModuleDict({m: daf.project[m] for m in others})
        for name, head in after.items():
            setattr(self, name, head if heads or name == "intensity" else None)
        del daf.project, daf.head  # DyFuLM has them
        self.daf = daf

    def forward(
        self,
        x: Mapping[str, Tensor],
        present: Tensor,
        mask: Tensor | None = None,
        noise: Noise | None = None,
    ) -> tuple[Output, Tensor | None]:
        """DyFuLM's output, and the modality weights (s, b, m); None for a rule without weights.

        x["a"], x["b"] (s, b, t, l, d) and mask (s, b, t) as for DyFuLM, x[m] (s, b, d_m); present
        (s, b, m) bool, text first. Features of absent modalities are ignored (if finite).
        """
        text, seen = self.fuse(*(x.get(name) for name in ENCODERS), mask, noise)
        h = [torch.tanh(text) if self.tanh else text]
        for m, project in self.project.items():
            factor = None
            if noise is not None and not noise.features.idle:
                factor = noise.features.scale((x[m].shape[-1],)).to(text.device)  # (s, d)
            h.append(torch.tanh(project(x[m], factor)))
        stacked = torch.stack(h, dim=2)  # (s, b, m, h)
        if noise is not None and not noise.hidden.idle:
            stacked = stacked * noise.hidden.scale(stacked.shape[1:]).to(text.device)
        present = _kept(present, noise)
        z, weights = self.daf.fuse(stacked * present[..., None], present)
        return self.read(z)._replace(**seen), weights

    def read(self, h: Tensor) -> Output:
        """Apply the heads, or the single head, to the fused state (s, b, h)."""
        if self.coarse is not None:
            return super().read(h)
        return Output(None, self.squash(self.intensity(h))[..., 0], None, None, None, None, None)

    def squash(self, intensity: Tensor) -> Tensor:
        return super().squash(intensity) if self.sigmoid else intensity


def _kept(present: Tensor, noise: Noise | None) -> Tensor:
    """Modality dropout, as in DAF: an utterance that would lose all modalities keeps them all."""
    if noise is None or noise.modalities is None or noise.modalities.idle:
        return present
    kept = present & noise.modalities.keep(present.shape[1:]).to(present.device)
    return torch.where(kept.any(-1, keepdim=True), kept, present)


# Features


def build(
    corpus: Corpus,
    a: str | Path,
    b: str | Path,
    modalities: Sequence[str] | None = None,
    **options: object,
) -> Features:
    """States of both encoders, x["a"], x["b"] (n, l, d), and DAF's vectors, x["audio"] ... (n, d).

    modalities: must include "text"; default: all of the corpus. options: of
    `mmlib.text.encoding.encode`. DataError if the corpus lacks a modality or text is left out.
    """
    names = tuple(modalities or corpus.modalities)
    if TEXT not in names or corpus.text is None:
        there = ", ".join(names)
        raise DataError(f"{corpus.name}: the joint model reads text, and this is {there} only")
    if names == (TEXT,):
        return frozen.states(corpus, a, b, **options)
    heard = daf_features.build(corpus, [m for m in names if m != TEXT])
    states = frozen.states(corpus, a, b, **options)
    present = np.hstack([states.present, heard.present])
    x, scaler = {**states.x, **heard.x}, states.scaler | heard.scaler
    return replace(states, x=x, present=present, scaler=scaler)


def flat(features: Features) -> Features:
    """Features in DAF's form: x["text"] holds all layers of the encoders, concatenated."""
    names = [m for m in features.modalities if m in ENCODERS]
    x = {TEXT: np.hstack([features.x[name].reshape(len(features), -1) for name in names])}
    has = features.only(names).present.all(axis=1, keepdims=True)
    rest = [i for i, m in enumerate(features.modalities) if m not in ENCODERS]
    x |= {m: values for m, values in features.x.items() if m not in ENCODERS}
    return replace(features, x=x, present=np.hstack([has, features.present[:, rest]]))


# Training


@dataclass(frozen=True, kw_only=True)
class JointSettings(frozen.Settings):
    """Hyperparameters of a joint model (`shape`: arguments of `Joint`) and of its training."""

    SHARED = ("corner", *frozen.Settings.SHARED)

    modality_dropout: float = 0.0
    corner: float = 0.5  # of DAF's smooth L1 loss, used with heads=False


class JointPrediction(NamedTuple):
    """A stack's predictions for n utterances, as arrays; None if the part is switched off."""

    coarse: np.ndarray | None  # (s, n) classes
    fine: np.ndarray | None  # (s, n) classes
    intensity: np.ndarray  # (s, n), in (0, 1); the sentiment if heads=False
    weights: np.ndarray | None  # (s, n, m), rows sum to 1


def _predict(model: Joint, features: Features) -> JointPrediction:
    features = features.only([*model.fusion, *model.project])
    known = {m: project.weight.shape[1] for m, project in model.project.items()}
    for m in (m for m, d in known.items() if features.dims[m] != d):
        given = features.dims[m]
        raise DataError(f"{features.name}: {m} has {given} features, training had {known[m]}")
    return training.predict(model, features, _output)


def _output(model: Joint, x: Mapping[str, Tensor], present: Tensor) -> JointPrediction:
    output, weights = _on_pooled(model, x, present)
    classes = (None if y is None else y.argmax(-1) for y in (output.coarse, output.fine))
    return JointPrediction(*classes, output.intensity, weights)


def _on_pooled(model: Joint, x: Mapping[str, Tensor], present: Tensor, noise=None):
    """Apply the model to pooled states; x and `present` have the same order, encoders first."""
    k = len(model.fusion)
    x = {m: values[:, :, None] if m in model.fusion else values for m, values in x.items()}
    has = present[..., :k].all(-1, keepdim=True)
    return model(x, torch.cat([has, present[..., k:]], dim=-1), noise=noise)


class _Three(frozen.Task):
    """Three heads: DyFuLM's targets and losses."""

    predict = staticmethod(_predict)

    def __init__(self, features, targets, settings, device: str = "cpu") -> None:
        super().__init__(features, targets, settings, device)
        self.present = torch.as_tensor(features.present, device=device)
        self.label = torch.as_tensor(np.array(features.label), device=device)

    def model(self, s: int) -> Joint:
        shapes = [self.x[name].shape[1:] if name in self.x else (0, 0) for name in ENCODERS]
        layers, dims = zip(*shapes, strict=True)
        others = {m: x.shape[1] for m, x in self.x.items() if m not in ENCODERS}
        return Joint(dims, layers, others, s=s, **self.settings.shape)

    def output(self, model: Joint, rows: Tensor, noise: Noise | None) -> Output:
        x = {m: self.gather(m, rows) for m in self.x}
        return _on_pooled(model, x, self.present[rows], noise)[0]


class _One(_Three):
    """One head: DAF's target and loss."""

    objective, criterion = task.Task.objective, task.Task.criterion
    epoch_ends = task.Task.epoch_ends

    def create(self, members: Sequence[Member]) -> Learner:
        return Learner(self.model(len(members)), losses.weighting("static", len(members)))

    def losses(self, learner: Learner, rows: Tensor, noise: Noise | None = None) -> Tensor:
        score = self.output(learner.model, rows, noise).intensity
        return error(score, self.label[rows], self.settings.corner if noise else 0)[:, None]


def _task(features, targets, settings, device: str = "cpu") -> _Three:
    known = [settings] if isinstance(settings, JointSettings) else [*settings]
    shape = known[0].shape if known else {}
    gate = shape.get("gate")
    names = [gate] if gate in ENCODERS else [*ENCODERS]
    if lacking := [name for name in names if name not in features.x]:
        raise DataError(
            f"{features.name} has no text states of encoder {' and '.join(lacking)}; build them, "
            "or read one encoder alone by gate='a' or gate='b'"
        )
    used = features.only(names + [m for m in features.modalities if m not in ENCODERS])
    return (_Three if shape.get("heads", True) else _One)(used, targets, known, device)


def train(
    features: Features,
    targets: Targets,
    settings: JointSettings | Sequence[JointSettings] = JointSettings(),
    seeds: Sequence[int] = range(5),
    device: str = "cpu",
    on_step: OnStep | None = None,
    folds: int | None = None,
) -> Fit:
    """Train settings x folds x seeds as one stack; see `mmlib.stack.training.fit`.

    features: from `build`, or some of their modalities by `Features.only`. Early stopping is that
    of `mmlib.dyfulm.frozen.fit`; with heads=False that of DAF. `Fit.predict` returns
    `JointPrediction`. Errors as in `frozen.fit`; DataError if an encoder's states are missing.
    """
    return training.fit(_task(features, targets, settings, device), seeds, folds, on_step)
