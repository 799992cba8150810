"""Ridge regression on the features of all modalities: the linear baseline."""

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold

from mmlib.daf.tune import FOLDS
from mmlib.stack.vectors import Features

PENALTIES = 10.0 ** np.arange(1, 6)


def learn(data: Features) -> GridSearchCV:
    """Fit on train + valid; the penalty has the lowest MAE in cross-validation by group."""
    known = data.take(np.flatnonzero(np.isin(data.split, ("train", "valid"))))
    search = GridSearchCV(
        Ridge(), {"alpha": PENALTIES}, scoring="neg_mean_absolute_error", cv=GroupKFold(FOLDS)
    )
    return search.fit(columns(known), known.label, groups=known.groups)


def columns(data: Features) -> np.ndarray:
    """The features of all modalities side by side, (n, d)."""
    return np.hstack(list(data.x.values()))
