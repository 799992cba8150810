"""Analysis of DyFuLM's gate, layer weights, guidance and task gradients, and signs of failure.

Each sign shows that one of the paper's mechanisms has failed; the thresholds are ours.
Axes: s seed, n utterances, l layer, h hidden, k class.
"""

import re
import string
from collections.abc import Mapping, Sequence
from copy import deepcopy
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mmlib.data.targets import Targets
from mmlib.dyfulm import frozen
from mmlib.dyfulm.frozen import ENCODERS, Fit, Learner, Prediction
from mmlib.dyfulm.losses import TASKS, task_losses
from mmlib.dyfulm.model import DyFuLM
from mmlib.stack.vectors import Features

NEAR = 0.05  # a gate value within this distance of .5 prefers neither encoder
Row = tuple[str, str, float, str, float]  # signature, measure, value; alarm if it is "<" .02

# The gate


def near_half(gate: np.ndarray) -> float:
    """Share of gate values within .05 of .5; 1: the gate is only the mean of both encoders."""
    return float((np.abs(gate - 0.5) < NEAR).mean())


def gates(gate: np.ndarray) -> pd.DataFrame:
    """Distribution of gate values (s, n, h), one row per seed.

    near_half; mean, above .5 if encoder A dominates; open_a and open_b, shares above .9 and below
    .1; sd_units, sd of the units' means: a fixed mixture; sd_inputs, sd over utterances, mean over
    units: the dependence on the input. A gate may be far from .5 and still ignore its input.
    """
    flat = gate.reshape(len(gate), -1)
    return pd.DataFrame(
        {
            "near_half": [near_half(values) for values in gate],
            "mean": flat.mean(axis=1),
            "open_a": (flat > 0.9).mean(axis=1),
            "open_b": (flat < 0.1).mean(axis=1),
            "sd_units": gate.mean(axis=1).std(axis=-1),
            "sd_inputs": gate.std(axis=1).mean(axis=-1),
        }
    ).rename_axis("seed")


def by_word(words: Sequence[str], gate: np.ndarray, least: int = 5) -> pd.DataFrame:
    """Mean of `gate` (n,) for each word that occurs `least` times; columns gate, n, from A to B."""
    groups = pd.Series(np.asarray(gate)).groupby(np.char.lower(np.asarray(words, dtype=str)))
    table = pd.DataFrame({"gate": groups.mean(), "n": groups.size()}).rename_axis("word")
    return table[table["n"] >= least].sort_values("gate", ascending=False)


def in_context(
    texts: Sequence[str], counts: np.ndarray, spans: np.ndarray, gate: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """Each word of the texts, in order, and the mean gate of its token positions.

    counts (n,): positions of each text; spans (sum of counts, 2): first character, one past last;
    gate (sum of counts,); all texts concatenated. Words are separated by spaces; the punctuation
    around a word is removed, and words of punctuation only are dropped.
    """
    words, gates, ends = [], [np.zeros(0)], np.cumsum(counts)
    for text, first, last in zip(texts, ends - counts, ends, strict=True):
        tokens = list(re.finditer(r"\S+", text))
        if not tokens:
            continue
        starts = [token.start() for token in tokens]
        at = np.searchsorted(starts, spans[first:last, 0], side="right") - 1  # (p,)
        at = at.clip(min=0)  # if a text is one position, its span may begin with a space
        sums, many = np.bincount(at, gate[first:last]), np.bincount(at)
        words += [tokens[k][0].strip(string.punctuation) for k in np.flatnonzero(many)]
        gates.append(sums[many > 0] / many[many > 0])
    kept = [i for i, word in enumerate(words) if word]
    return [words[i] for i in kept], np.concatenate(gates)[kept]


# The layers


def largest(alpha: np.ndarray) -> float:
    """Mean over seeds and utterances of the largest layer weight; 1: only one layer counts."""
    return float(alpha.max(axis=-1).mean())


# The tasks


class Gradients:
    """An `on_step` hook that measures the three tasks' gradients on fixed training utterances.

    Training is not affected. `table` has one row per `every` steps, averaged over the members that
    still train: `norm_<task>`, norm of the task's unweighted gradient at the shared parameters;
    `cos_<task>_<task>`, cosine of two tasks' gradients; `weight_<task>`, the task's loss weight.
    Two norms of the fine loss' gradient, divided by its norm at the fine head: `guidance`, at the
    guidance's parameters, and `through`, at the other two heads, which it reaches by the guidance.
    """

    def __init__(
        self, states: Features, targets: Targets, every: int = 10, utterances: int = 256
    ) -> None:
        rows = np.random.default_rng(0).permutation(states.rows("train"))[:utterances]
        self.every, self.lines = every, []
        self.x = [torch.from_numpy(states.x[m][rows, None]) for m in ENCODERS]  # (b, 1, l, d)
        self.targets = frozen.as_tensors(targets.take(rows))

    def __call__(self, step: int, learner: Learner) -> None:
        if step % self.every == 0:
            self.lines.append({"step": step, **self._measure(learner)})

    @property
    def table(self) -> pd.DataFrame:
        return pd.DataFrame(self.lines or {"step": []}).set_index("step")

    def _measure(self, learner: Learner) -> dict[str, float]:
        model, device = learner.model, learner.model.fine.bias.device
        x = (v.to(device).expand(model.s, *v.shape) for v in self.x)
        targets = Targets(*(v.to(device).expand(model.s, -1) for v in self.targets))
        # summed: members share no parameter
        losses = task_losses(model(*x), targets, **learner.options).sum(dim=0)  # (3,)
        shared = [p for _, p in model.shared_parameters()]
        pulls = {task: _gradient(loss, shared) for task, loss in zip(TASKS, losses, strict=True)}
        norms = {task: pull.norm(dim=1) for task, pull in pulls.items()}  # (s,)
        line = {f"norm_{task}": norm for task, norm in norms.items()}
        for a, b in combinations(TASKS, 2):
            product = (pulls[a] * pulls[b]).sum(dim=1)
            line[f"cos_{a}_{b}"] = product / (norms[a] * norms[b]).clamp(min=1e-12)
        weights = learner.weighting.weights.detach().unbind(1)
        line |= {f"weight_{task}": w for task, w in zip(TASKS, weights, strict=True)}
        if model.guide is not None:
            line |= _guidance_gradients(model, losses[TASKS.index("fine")])
        return {name: float(values.mean()) for name, values in line.items()}


def _gradient(loss: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """d loss / d parameters, flat, (s, p)."""
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
    return torch.cat([g.flatten(1) for g in gradients], dim=1)


def _guidance_gradients(model: DyFuLM, fine: Tensor) -> dict[str, Tensor]:
    parts = {
        "own": model.fine.parameters(),
        "guidance": model.guide.parameters(),
        "through": [*model.coarse.parameters(), *model.intensity.parameters()],
    }
    norms = {name: _gradient(fine, list(p)).norm(dim=1) for name, p in parts.items()}
    own = norms.pop("own").clamp(min=1e-12)
    return {name: norm / own for name, norm in norms.items()}


# The guidance


def unguided(fit: Fit, states: Features) -> Prediction:
    """The predictions with the guidance fixed at its neutral value, 1."""
    model = deepcopy(fit.model)
    if model.guide is not None:
        model.guide.weight.data.zero_()
        model.guide.bias.data.zero_()
    return frozen.predict(model, states)


# The diagnosis


def diagnosis(
    fit: Fit,
    states: Features,
    targets: Targets,
    without_layers: Fit | None = None,
    gradients: pd.DataFrame | None = None,
    bag: Targets | None = None,
) -> pd.DataFrame:
    """Signs that one of the paper's three mechanisms has failed, one row each.

    Columns signature, measure, value, threshold ("> 0.5"), alarm; rows of modules that are off are
    left out. Thresholds are ours. `without_layers`: the same model with another `layer_fusion`;
    `gradients`: `Gradients.table` of its training; `bag`: predictions of a bag of words, whose gap
    between coarse and fine comes from the labels. `states`, `targets` and `bag`: of the same
    evaluation utterances.
    """
    prediction = fit.predict(states)
    learned = [name for name, part in fit.model.fusion.items() if part.how == "bilstm"]
    layers = _of_layers({name: getattr(prediction, f"alpha_{name}") for name in learned})
    rows = [*_of_gate(prediction), *layers, *_of_tasks(prediction, targets, bag)]
    if fit.model.guide is not None:
        changed = float((prediction.fine != unguided(fit, states).fine).mean())
        rows.append(("guidance idle", "share of fine classes it changes", changed, "<", 0.01))
    if gradients is not None and "guidance" in gradients:
        pull = float(gradients["guidance"].median())
        rows.append(("guidance gradients near zero", "norm / fine head's, median", pull, "<", 0.01))
    if without_layers is not None:
        other = without_layers.predict(states)
        for task in ("coarse", "fine"):
            gain = _accuracy(prediction, targets, task) - _accuracy(other, targets, task)
            rows.append(("layer fusion without effect", f"gain in acc_{task}", gain, "<", 0.001))
    table = pd.DataFrame(rows, columns=["signature", "measure", "value", "sign", "bar"])
    table["threshold"] = [f"{sign} {bar:g}" for sign, bar in table[["sign", "bar"]].to_numpy()]
    table["alarm"] = np.where(
        table["sign"] == ">", table["value"] > table["bar"], table["value"] < table["bar"]
    )
    return table.drop(columns=["sign", "bar"])


def _of_gate(prediction: Prediction) -> list[Row]:
    if prediction.gate is None:
        return []
    inputs = float(gates(prediction.gate)["sd_inputs"].mean())
    return [
        ("gate stuck near .5", "share within .05 of .5", near_half(prediction.gate), ">", 0.5),
        ("gate ignores its input", "sd over utterances", inputs, "<", 0.02),
    ]


def _of_layers(alphas: Mapping[str, np.ndarray]) -> list[Row]:
    rows = []
    for name, alpha in alphas.items():
        top, spread, name = largest(alpha), float(alpha.std(axis=1).mean()), name.upper()
        rows += [
            (f"one layer of {name} is all", "largest layer weight, mean", top, ">", 0.9),
            (f"layers of {name} ignore the input", "sd over utterances", spread, "<", 0.01),
        ]
    return rows


def _of_tasks(prediction: Prediction, targets: Targets, bag: Targets | None) -> list[Row]:
    gap, measure, most = _gap(prediction, targets), "gap in accuracy", 0.2  # the paper's: .142
    if bag is not None:
        gap, measure, most = gap - _gap(bag, targets), "gap in accuracy minus a bag of words'", 0.05
    spread = np.abs(targets.intensity - np.median(targets.intensity)).mean()
    left = float(np.abs(prediction.intensity - targets.intensity).mean()) / float(spread)
    usual = np.bincount(targets.fine).max() / len(targets.fine)
    learned = _accuracy(prediction, targets, "fine") - usual > 0.1  # else neither is learned
    return [
        ("coarse far above fine", measure, gap, ">", most),
        ("intensity not learned, classes are", "MAE / best constant's", left, ">",
         0.9 if learned else np.inf),
    ]  # fmt: skip


def _gap(prediction: Prediction | Targets, targets: Targets) -> float:
    return _accuracy(prediction, targets, "coarse") - _accuracy(prediction, targets, "fine")


def _accuracy(prediction: Prediction | Targets, targets: Targets, task: str) -> float:
    return float((getattr(prediction, task) == getattr(targets, task)).mean())


class Difference(NamedTuple):
    """Difference between two encoders' states of the same texts."""

    cka: float  # 1: the same up to rotation and scale; 0: unrelated
    distance: float  # mean distance divided by the mean norm; NaN if the widths differ


def difference(states_a: np.ndarray, states_b: np.ndarray) -> Difference:
    """Linear CKA and mean distance of two encoders' pooled states of the same texts.

    states_a (n, d_a), states_b (n, d_b), n at least 4. CKA (Kornblith et al. 2019) uses the
    unbiased estimate of HSIC (Song et al. 2012): the biased one is too high for few texts with many
    features. It can be slightly below 0. ValueError for n under 4, or two different n.
    """
    if len(states_a) != len(states_b) or len(states_a) < 4:
        raise ValueError(
            f"{len(states_a)} and {len(states_b)} states; pass the same 4 texts or more"
        )
    a, b = (np.asarray(states, dtype=np.float64) for states in (states_a, states_b))
    grams = [(x - x.mean(axis=0)) @ (x - x.mean(axis=0)).T for x in (a, b)]
    cka = _hsic(*grams) / np.sqrt(_hsic(grams[0], grams[0]) * _hsic(grams[1], grams[1]))
    if a.shape != b.shape:
        return Difference(float(cka), float("nan"))
    length = np.linalg.norm(np.concatenate([a, b]), axis=1).mean()
    return Difference(float(cka), float(np.linalg.norm(a - b, axis=1).mean() / length))


def _hsic(left: np.ndarray, right: np.ndarray) -> float:
    """Unbiased Hilbert-Schmidt independence criterion of two Gram matrices, times n (n - 3)."""
    n = len(left)
    left, right = (gram - np.diag(np.diag(gram)) for gram in (left, right))
    total = left.sum() * right.sum() / ((n - 1) * (n - 2))
    return (left * right).sum() + total - 2 / (n - 2) * (left @ right).sum()
