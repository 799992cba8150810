"""Linear models: the baselines that fusion and heads have to beat.

Logistic regression for the classes, ridge regression for the intensity; the penalty of each target
is chosen on the validation split. The features are TF-IDF (`mmlib.dyfulm.bag_of_words`) or the
frozen states of both encoders (`of_states`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge

from mmlib.data import Corpus
from mmlib.data.corpus import rows_of
from mmlib.data.targets import Targets
from mmlib.stack.vectors import Features

STRENGTHS = (1e-4, 1e-3, 1e-2)  # C of the logistic regressions, 1 / alpha of the ridge


@dataclass(frozen=True)
class Linear:
    """One fitted model per target, and the function that makes their features (n, d)."""

    features: Callable[[Any], Any]
    coarse: LogisticRegression
    fine: LogisticRegression
    intensity: Ridge

    def predict(self, reviews: Corpus | Features) -> Targets:
        """Predictions for every review, (n,) each; nothing is random, so there is no seed axis."""
        x = self.features(reviews)
        intensity = self.intensity.predict(x).clip(0, 1)
        return Targets(self.coarse.predict(x), self.fine.predict(x), intensity)


def of_states(states: Features, targets: Targets) -> Linear:
    """Train on the split "train", choose on "valid" by accuracy and R2; "test" is never read.

    states: of all layers of both encoders, scaled by `mmlib.dyfulm.frozen.states`; targets: of all
    n reviews. DataError if a split is empty.
    """
    rows = rows_of(states, ("train", "valid"))
    x = [_columns(states.take(of_split)) for of_split in rows]
    known = [targets.take(of_split) for of_split in rows]
    return choose(_columns, x, known, STRENGTHS, "lsqr")


def choose(
    features: Callable[[Any], Any],
    x: Sequence[Any],
    targets: Sequence[Targets],
    strengths: Sequence[float],
    solver: str,
) -> Linear:
    """The best model per target: trained on x[0], targets[0], chosen on x[1], targets[1].

    strengths: C of the logistic regressions, 1 / alpha of the ridge; solver: of the ridge.
    """

    def best(models: Iterable[Any], name: str) -> Any:
        known, held = (getattr(part, name) for part in targets)
        fitted = [model.fit(x[0], known) for model in models]
        return max(fitted, key=lambda model: model.score(x[1], held))

    def logistic() -> Iterable[LogisticRegression]:
        return (LogisticRegression(C=c, max_iter=300, tol=1e-3) for c in strengths)

    ridge = (Ridge(1 / c, solver=solver) for c in strengths)
    classes = best(logistic(), "coarse"), best(logistic(), "fine")
    return Linear(features, *classes, best(ridge, "intensity"))


def _columns(states: Features) -> np.ndarray:
    """The states of all layers of both encoders side by side, (n, d)."""
    return np.hstack([x.reshape(len(x), -1) for x in states.x.values()])
