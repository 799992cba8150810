"""What DAF's weights mean, on arrays whose answer is known; and the linear floor beside DAF."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import spearmanr

from mmlib.daf import interpret, ridge
from mmlib.daf.train import Prediction
from mmlib.data import Corpus, load
from mmlib.stack.vectors import Features, Scaler


def features(label, present, x=None, split=None):
    n = len(label)
    x = x or {m: np.zeros((n, 1), np.float32) for m in ("text", "audio", "vision")}
    ids, split = tuple(map(str, range(n))), np.resize(split or ["test"], n)
    return Features(
        "toy", ids, ids, split, np.asarray(label), x, np.asarray(present), Scaler({}, {})
    )


def test_contradicted_counts_who_stands_against_all_others():
    opinions = np.array([[1, -1, -1], [1, 1, -1], [-1, 1, 0], [1, -1, 5]], float)
    present = np.array([[1, 1, 1], [1, 1, 1], [1, 1, 0], [1, 0, 0]], bool)
    weights = np.array([[0.6, 0.2, 0.2], [0.5, 0.4, 0.1], [0.3, 0.7, 0], [1, 0, 0]])
    score, label = np.array([1, 1, 1, 1.0]), np.array([-2, -1, 1, 3.0])
    prediction = Prediction(score[None], weights[None], opinions[None])
    table = interpret.contradicted(prediction, features(label, present)).set_index("modality")
    assert table["n"].to_dict() == {"text": 2, "audio": 1, "vision": 1}
    assert table.loc["text", "weight"] == pytest.approx((0.6 + 0.3) / 2)
    assert table.loc["text", ["elsewhere", "followed", "right"]].tolist() == [0.5, 0.5, 0]
    assert table.loc["audio", ["followed", "right"]].tolist() == [1, 1]
    assert table.loc["vision", ["followed", "right"]].tolist() == [0, 1]
    unlabelled = interpret.contradicted(prediction, features(np.full(4, np.nan), present))
    assert unlabelled["right"].isna().all() and unlabelled["followed"].notna().all()


def test_unlabelled_utterances_take_a_conflicting_modality_from_any():
    given = features([np.nan] * 4, np.ones((4, 3), bool))
    assert len(interpret.perturb(given, "text", "conflict")) == 4


def test_entropy_stays_within_its_bounds():
    present = np.ones((500, 3), bool)
    weights = np.random.default_rng(0).dirichlet([1e6] * 3, (1, 500)).astype(np.float32)
    found = interpret.entropy(weights, present)
    assert found.max() == 1 and found.min() > 0.99


def test_a_modality_that_is_never_beside_another_has_no_correlation():
    present = np.eye(2, dtype=bool)[np.arange(24) % 2]
    with pytest.raises(ValueError, match=r"\Amodality 0 is beside another in under two groups"):
        interpret.by_distance(np.ones((1, 24, 2)), np.ones((24, 2)), present, ["a", "b"] * 12)


def test_an_utterance_keeps_its_only_modality_if_another_has_none_to_give():
    x = {m: np.arange(1, 7, dtype=np.float32)[:, None] for m in ("text", "audio")}
    present = np.array([[1, 1]] * 3 + [[1, 0]] * 2 + [[0, 1]], bool)
    x["audio"][3:5] = 0
    data = features([-1, 1, -1, 1, 1, -1], present, x)
    for seed in range(20):
        for how in ("shuffle", "conflict"):
            found = interpret.perturb(data, "audio", how, seed=seed)
            assert found.present[5, 1] and found.x["audio"][5] != 0


def test_faithfulness_wants_a_second_modality():
    data = features([-1, 1], np.ones((2, 1), bool), {"text": np.zeros((2, 1), np.float32)})
    weights = np.ones((1, 2, 1))
    fit = SimpleNamespace(predict=lambda _: Prediction(weights[..., 0], weights, weights))
    with pytest.raises(ValueError, match="no utterance of toy has text and another modality"):
        interpret.faithfulness(fit, data)


def test_gap_closed_is_a_share_of_the_way_to_the_oracle():
    assert interpret.gap_closed(0.6, np.array([0.3, 0.2, 0.6]), 0.2) == pytest.approx([0.75, 1, 0])
    with pytest.raises(ValueError, match="no gap"):
        interpret.gap_closed(0.2, 0.1, 0.2)


def test_agreement_is_of_each_modality_and_pooled():
    truth = np.random.default_rng(0).random((30, 2))
    truth /= truth.sum(axis=1, keepdims=True)
    present = np.ones((30, 2), bool)
    ranks = interpret.agreement(np.stack([truth, 1 - truth]), truth, present)
    assert ranks == pytest.approx(np.array([[1, 1, 1], [-1, -1, -1]]))


def test_conflict_ignores_who_is_absent():
    opinions, present = np.array([[[1, -2.0], [3, -9]]]), np.array([[True, True], [True, False]])
    assert interpret.conflict(opinions, present).tolist() == [3, 0]


def judged(alone, label):
    """A corpus whose texts and voices were judged alone, (n, 2), as CH-SIMS is read."""
    n = len(label)
    ids, split = tuple(map(str, range(n))), np.full(n, "test")
    notes = dict(zip(("text", "audio"), np.transpose(alone), strict=True))
    return Corpus("sims", "made", ids, ids, split, label, ids, annotations=notes)


def test_distances_are_those_of_labels_of_one_modality_or_of_evidence():
    corpus = judged([[3, 1], [0, -2], [-3, 0]], np.array([1, 0, 3]))
    assert interpret.distances(corpus, ("text", "audio")).tolist() == [[2, 0], [0, 2], [6, 3]]
    assert interpret.distances(corpus, ("audio",)).tolist() == [[0], [2], [3]]
    assert interpret.distances(corpus, ("text", "vision")) is None
    embedded = load("synthetic", n=200)
    found = interpret.distances(embedded, ("vision", "text"))
    evidence = embedded.truth["evidence"][:, [2, 0]]
    assert found == pytest.approx(np.abs(evidence - embedded.label[:, None]))


def test_weights_that_fall_with_distance_are_told_from_others():
    rng = np.random.default_rng(0)
    distance, present = 3 * rng.random((120, 2)), np.ones((120, 2), bool)
    present[:20, 1] = False  # their other modality has all the weight
    falling = 1 - distance[:, 0] / 3 + 0.2 * rng.standard_normal((3, 120))
    weights = np.stack([falling, rng.random((3, 120))], axis=-1)
    groups = [f"g{i // 4}" for i in range(120)]
    table = interpret.by_distance(weights, distance, present, groups)
    assert table["n"].tolist() == [100, 100]
    kept = present.all(axis=1)
    ranks = [spearmanr(w[kept], distance[kept, 0]).statistic for w in falling]
    assert table["rank_corr"][0] == pytest.approx(np.mean(ranks)) and table["ci_high"][0] < -0.5
    assert table["ci_low"][1] < 0 < table["ci_high"][1]
    member = np.arange(20, 120).reshape(25, 4)  # the interval is about that of a bootstrap
    draws = [member[rng.integers(25, size=25)].ravel() for _ in range(300)]
    sd = np.std([np.mean([spearmanr(w[r], distance[r, 0]).statistic for w in falling])
                 for r in draws])  # fmt: skip
    half = (table["ci_high"][0] - table["ci_low"][0]) / 2
    assert 1.5 * sd < half < 3.5 * sd


def test_ridge_learns_a_line_without_the_test_split():
    rng = np.random.default_rng(0)
    x = {m: rng.standard_normal((90, 4)).astype(np.float32) for m in ("text", "audio")}
    label = x["text"][:, 0] - 2 * x["audio"][:, 1]
    data = features(label, np.ones((90, 2), bool), x, ["train", "train", "valid", "test"])
    test = data.take(data.rows("test"))
    fit = ridge.learn(data)
    assert np.abs(fit.predict(ridge.columns(test)) - test.label).mean() < 0.3
    data.label[data.rows("test")] = 1e6
    again = ridge.learn(data)
    assert (again.predict(ridge.columns(test)) == fit.predict(ridge.columns(test))).all()
