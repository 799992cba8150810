"""Values of a user's metric; errors name the metric and the problem in one line."""

from collections.abc import Callable

import numpy as np

from mmlib.files import reason_of


def checked_values(
    name: str, function: Callable[..., np.ndarray], remedy: str, p: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """Each utterance's value, shaped like p, (s, n) or (n,), for labels y (n,).

    ValueError, one line with the remedy, if the function fails or returns another shape, NaN or
    infinity.
    """
    rows, fault = np.atleast_2d(p), ""
    try:
        values = np.asarray(function(rows.copy(), y.copy()), float)
    except Exception as error:  # a user's function may raise anything
        fault = f"fails ({type(error).__name__}: {reason_of(error)})"
    else:
        if values.shape != rows.shape:
            fault = f"has shape {values.shape}; give each utterance's value, {rows.shape}"
        elif bad := np.count_nonzero(~np.isfinite(values)):
            fault = f"gives NaN or infinity for {bad} of {values.size} predictions"
    if fault:
        raise ValueError(f"metric {name!r} {fault}; no score is computed: {remedy}")
    return values.reshape(p.shape)
