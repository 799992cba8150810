"""The linear references learn from training, choose on validation, and never see the test."""

from dataclasses import replace

import numpy as np
import pytest

from mmlib.data import DataError, load
from mmlib.data.targets import Targets, constant, targets
from mmlib.dyfulm import bag_of_words, linear
from mmlib.scores.metrics import all_scores
from mmlib.stack.vectors import Features, Scaler


@pytest.fixture(scope="module")
def corpus():
    return load("synthetic_reviews", n=800)


def scores(model, corpus, split="test"):
    held = corpus.take(corpus.rows(split))
    return all_scores(model.predict(held), targets(held))


def test_it_beats_the_constant_and_not_the_truth(corpus):
    found = scores(bag_of_words.learn(corpus, targets(corpus)), corpus)
    test, known = corpus.rows("test"), targets(corpus)
    base = all_scores(constant(known.take(corpus.rows("train")), len(test)), known.take(test))
    best = np.mean(corpus.truth["fine"] == known.fine)
    assert base["acc_fine"] + 0.1 < found["acc_fine"] < best - 0.2
    assert found["mae"] < base["mae"] and found["r2"] > 0.15 > base["r2"]


def test_the_test_split_is_never_read(corpus):
    rows = corpus.rows("test")
    text, label = list(corpus.text), corpus.label.copy()
    label[rows] = label[rows[::-1]]
    for i in rows:
        text[i] = "zebra " * 5
    other = replace(corpus, text=tuple(text), label=label)
    one, two = (bag_of_words.learn(c, targets(c)) for c in (corpus, other))
    assert two.features(other.take(rows)).nnz == 0  # it knows no zebra
    valid = corpus.take(corpus.rows("valid"))
    for a, b in zip(one.predict(valid), two.predict(valid), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_strength_is_the_best_on_validation(corpus, monkeypatch):
    chosen = scores(bag_of_words.learn(corpus, targets(corpus)), corpus, "valid")
    for strength in bag_of_words.STRENGTHS:
        with monkeypatch.context() as patch:
            patch.setattr(bag_of_words, "STRENGTHS", (strength,))
            alone = scores(bag_of_words.learn(corpus, targets(corpus)), corpus, "valid")
        for name in ("acc_coarse", "acc_fine"):
            assert chosen[name] >= alone[name]


def test_no_text_is_said():
    corpus = load("synthetic", n=200)
    with pytest.raises(DataError, match="synthetic has no text for TF-IDF"):
        bag_of_words.learn(replace(corpus, text=None), targets(corpus))


def states(corpus):
    """Two layers of two encoders that know the label, with noise, standardised."""
    rng = np.random.default_rng(0)
    known = corpus.label[:, None, None]
    x = {m: (known + rng.normal(0, 2, (len(corpus), 2, 6))).astype(np.float32) for m in "ab"}
    present = np.ones((len(corpus), 2), bool)
    scaler = Scaler.fit(x, present, corpus.rows("train"))
    return Features.of(corpus, scaler.apply(x, present), present, scaler)


def test_linear_models_of_states_learn_without_the_test_split(corpus):
    goal, data = targets(corpus), states(corpus)
    rows = corpus.rows("test")
    said = linear.of_states(data, goal).predict(data.take(rows))
    found, base = (
        all_scores(one, goal.take(rows))
        for one in (said, constant(goal.take(corpus.rows("train")), len(rows)))
    )
    assert found["acc_fine"] > base["acc_fine"] + 0.1 and found["mae"] < base["mae"]
    assert said.intensity.min() >= 0 and said.intensity.max() <= 1
    x = {m: values.copy() for m, values in data.x.items()}
    for values in x.values():
        values[rows] = 9
    other = Targets(*(np.where(corpus.split == "test", part[::-1], part) for part in goal))
    again = linear.of_states(replace(data, x=x), other).predict(data.take(rows))
    for one, two in zip(said, again, strict=True):
        np.testing.assert_array_equal(one, two)


def test_linear_models_of_states_need_both_splits(corpus):
    data = states(corpus)
    only = np.flatnonzero(corpus.split != "valid")
    with pytest.raises(DataError, match="no utterance in split valid"):
        linear.of_states(data.take(only), targets(corpus).take(only))
