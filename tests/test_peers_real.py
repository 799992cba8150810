"""Against test predictions that one peer published, where they are: a local check, kept nowhere."""

import numpy as np
import pandas as pd
import pytest

from mmlib.daf import features, train, tune
from mmlib.data import load
from mmlib.files import data_root
from mmlib.scores.metrics import all_scores, named
from mmlib.scores.stats import compare

PREDICTIONS = data_root() / "peers" / "mosi_test_predictions.csv"


@pytest.mark.skipif(not PREDICTIONS.exists(), reason="no predictions of a peer")
def test_daf_is_not_told_apart_from_a_peers_test_predictions():
    """Joined by utterance and paired; MAE .805 and Corr .765 are what was told of the peer."""
    data = features.build(load("mosi"))
    test = data.take(data.rows("test"))
    theirs = pd.read_csv(PREDICTIONS).set_index("id").loc[list(test.ids)]
    np.testing.assert_allclose(theirs["label"], test.label, atol=1e-5)
    peer = theirs["peer_prediction"].to_numpy()
    scores = all_scores(peer, test.label)
    assert (round(scores["mae"], 3), round(scores["corr"], 3)) == (0.805, 0.765)
    settings = tune.settings("mosi", data.modalities, "daf")
    ours = train.fit(data, settings, range(3)).predict(test).score  # (s, n)
    for metric in ("mae", "corr"):
        pair = compare(named(metric), ours, np.tile(peer, (3, 1)), test.label, test.groups)
        print(metric, pair)
        assert pair.ci_low < 0 < pair.ci_high, (metric, pair)
