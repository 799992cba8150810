"""Training, model selection and prediction: settings x folds x seeds of one task as one stack.

Up to 1e-6, a member's result does not depend on the other seeds and settings in its stack
(`mmlib.stack.loop`). Axes: s stack member, n utterances, b batch, m modality, k loss.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import GroupKFold

from mmlib.data.corpus import DataError, check_finite, rows_of
from mmlib.stack import loop
from mmlib.stack.loop import OnStep
from mmlib.stack.task import Member, Settings, Streams, Task
from mmlib.stack.vectors import Features, Scaler

BLOCK = 1024  # utterances per forward pass in prediction


@dataclass
class Fit:
    """A trained stack; each member has the weights of its best epoch on its validation rows."""

    model: Any
    members: list[Member]
    valid_loss: np.ndarray  # (s,), the early-stopping criterion at the best epoch
    best_epoch: np.ndarray  # (s,), counted from 0
    curves: dict[str, np.ndarray]  # "train", "valid": (epochs, s), or (epochs, s, k) of k losses
    scaler: Scaler
    predictor: Callable[[Any, Features], Any]
    reader: Callable[[Sequence[str], Features], Features]
    seen: Features  # without utterances: records how the training features were made

    def predict(self, features: Features) -> Any:
        """The task's prediction for every utterance; `features` made as for training."""
        return self.predictor(self.model, features)

    def predict_texts(self, texts: Sequence[str]) -> Any:
        """Predictions for new texts, with the encoders, layers and scaling of training.

        Every language gets a prediction, but the encoders minilm and mpnet know English only.
        DataError, one line, if the model reads more than texts, or if a text is empty.
        """
        return self.predict(self.reader(texts, self.seen))


def fit(
    task: Task,
    seeds: Sequence[int] = range(5),
    folds: int | None = None,
    on_step: OnStep | None = None,
) -> Fit:
    """Train settings x folds x seeds as one stack, early stopping on the task's criterion.

    Without `folds`, members train on the split "train" and stop on "valid". With folds, those two
    splits are pooled and divided by group (video, hotel) into that many parts, each held out once;
    an epoch then has as many full batches as the smallest training part allows. The test split is
    never read. `on_step(step, learner)` is called after each update; stopped members have left it.
    ValueError without seeds. DataError if a split has fewer than two utterances, if there are fewer
    groups than folds, or if features or labels are NaN or infinite. FloatingPointError if the data
    are finite and a loss is not.
    """
    data, seeds = task.features, list(seeds)
    if not seeds:
        raise ValueError("no seeds to train; pass one or more, e.g. range(5)")
    splits = [rows_of(data, ("train", "valid"), least=2)] if folds is None else _folds(data, folds)
    members = [
        Member(settings, seed, *rows)
        for settings in task.candidates
        for rows in splits
        for seed in seeds
    ]
    streams = [Streams.of(member.seed) for member in members]
    learner = task.create(members).reset([own.weights for own in streams]).to(task.device)
    try:
        best = loop.run(task, learner, members, streams, on_step)
    except FloatingPointError:  # caused by the data, or else by the learning rate
        _check_finite(data, np.concatenate([rows for pair in splits for rows in pair]))
        raise
    curves = {n: v[..., 0] if v.shape[-1] == 1 else v for n, v in best.curves.items()}
    none = data.take(np.zeros(0, int))
    return Fit(task.trained(learner), members, best.loss, best.epoch, curves, data.scaler,
               task.predict, task.read_texts, none)  # fmt: skip


def _check_finite(data: Features, rows: np.ndarray) -> None:
    """DataError if features or labels of these rows (training, validation) are not finite."""
    rows = np.unique(rows)
    for name, values in {**data.x, "label": data.label}.items():
        check_finite(name, values[rows], [data.ids[row] for row in rows])


def _folds(features: Features, k: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Training and held-out rows of each fold of train + valid; a group is never divided."""
    rows = np.concatenate(rows_of(features, ("train", "valid")))
    groups = np.array(features.groups)[rows]
    there = len(np.unique(groups))
    if not 2 <= k <= there:
        raise DataError(
            f"{features.name}: folds={k} do not suit the groups of train and valid ({there}); use "
            "2 folds or more, at most one a group, and ids as groups if these are too few"
        )
    return [(rows[a], rows[b]) for a, b in GroupKFold(k).split(rows, groups=groups)]


def select(task: Task, folds: int = 5, seeds: Sequence[int] = (0,)) -> tuple[Settings, np.ndarray]:
    """The settings with the lowest cross-validated criterion, and every candidate's criterion (c,).

    Folds divide train + valid by group; the test split is not read. The part that is held out also
    chooses the epoch, so criteria are optimistic. All candidates, folds and seeds are one stack.
    """
    fitted = fit(task, seeds, folds)
    errors = fitted.valid_loss.reshape(len(task.candidates), -1).mean(axis=1)
    return task.candidates[int(errors.argmin())], errors


def predict(model: Any, features: Features, output: Callable[..., tuple]) -> Any:
    """Apply `output` to all utterances in blocks and return its fields as arrays (s, n, ...).

    output(model, x, present), with x[m] (s, b, ...) and present (s, b, m), returns a NamedTuple of
    tensors (s, b, ...); a field that a model does not have is None. The result has the same type.
    """
    device, parts = next(model.parameters()).device, []

    def block(values: np.ndarray, at: int) -> torch.Tensor:
        part = torch.as_tensor(np.ascontiguousarray(values[at : at + BLOCK]), device=device)
        return part.expand(model.s, *part.shape)

    with torch.inference_mode():
        for at in range(0, max(len(features), 1), BLOCK):
            x = {m: block(values, at) for m, values in features.x.items()}
            prediction = output(model, x, block(features.present, at))
            parts.append([None if part is None else part.cpu().numpy() for part in prediction])
    columns = zip(*parts, strict=True)
    return type(prediction)(*(None if c[0] is None else np.concatenate(c, axis=1) for c in columns))
