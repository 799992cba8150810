"""The embedded reviews: the truth follows from the words, and a bag of words is not enough."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import Ridge

from mmlib.data import SPLITS, DataError, load
from mmlib.data.embedded import grammar
from mmlib.data.embedded.synthetic_reviews import ASPECTS, GAIN, synthetic_reviews
from mmlib.data.targets import targets
from mmlib.scores.passport import passport


@pytest.fixture(scope="module")
def corpus():
    return load("synthetic_reviews")


def test_a_seed_is_a_corpus(corpus):
    again, other = synthetic_reviews(), synthetic_reviews(seed=1)
    assert corpus.text == again.text and (corpus.label == again.label).all()
    assert corpus.text != other.text
    with pytest.raises(DataError, match="n=199 does not fill three splits; use 200 or more"):
        synthetic_reviews(n=199)
    assert [len(synthetic_reviews(n=200).rows(s)) for s in SPLITS] == [140, 20, 40]


def test_it_is_a_table_of_hotel_reviews(corpus):
    assert len(corpus) == 2400 and len(set(corpus.text)) > 2390
    assert passport(corpus).duplicate_texts == {}
    found = targets(corpus)
    assert np.bincount(found.fine).min() > 0.1 * 2400 and np.bincount(found.coarse).min() > 550
    assert np.mean([text.count(".") for text in corpus.text]) >= 3
    assert len(np.unique(found.intensity)) > 1000  # no function of the classes


def test_the_verdict_follows_from_what_is_said_and_how_it_counts(corpus):
    values, weights = corpus.truth["values"], corpus.truth["weights"]
    assert (weights.sum(axis=1) > 0).all() and (values[weights == 0] == 0).all()
    verdict = np.clip(GAIN * (values * weights).sum(1) / weights.sum(1), -3, 3)
    assert corpus.truth["intensity"] == pytest.approx((verdict + 3) / 6)
    for k, names in enumerate(ASPECTS.values()):  # nothing is judged that is not named
        named = np.array([any(name in text for name in names) for text in corpus.text])
        assert named[weights[:, k] > 0].all()


def test_a_plain_sentence_is_worth_what_the_grammar_says(corpus):
    phrases = dict(zip(*grammar.opinions(), strict=True))
    k = list(ASPECTS).index("pool")
    for text, values, weights in zip(
        corpus.text, corpus.truth["values"], corpus.truth["weights"], strict=True
    ):
        for sentence in text.split(". "):
            said = sentence.removeprefix("i found the pool ").rstrip(".")
            if said != sentence.rstrip("."):
                assert values[k] == phrases[said] and weights[k] == 1


def test_no_reader_beats_the_truth_and_guests_are_not_quite_predictable(corpus):
    found, truth = targets(corpus), corpus.truth
    for name, low, high in (("fine", 0.8, 0.95), ("coarse", 0.87, 0.97)):
        assert low < np.mean(truth[name] == getattr(found, name)) < high
    best = np.abs(truth["intensity"] - found.intensity).mean()
    for shift in (-0.03, 0.03):
        assert best < np.abs(truth["intensity"] + shift - found.intensity).mean()


def test_neither_a_bag_of_words_nor_unweighted_opinions_are_enough(corpus):
    train, test = corpus.rows("train"), corpus.rows("test")
    y, truth = targets(corpus).intensity, corpus.truth

    def error(guess):
        return np.abs(guess - y[test]).mean()

    best, constant = error(truth["intensity"][test]), error(np.median(y[train]))
    bags = CountVectorizer(ngram_range=(1, 2), min_df=2).fit_transform(corpus.text)
    words = error(Ridge(10).fit(bags[train], y[train]).predict(bags[test]))
    said = truth["weights"] > 0
    mean = GAIN * truth["values"].sum(1) / said.sum(1)
    unweighted = error((np.clip(mean, -3, 3) / 6 + 0.5)[test])
    assert best + 0.03 < unweighted < words < constant - 0.04
    assert words - best > 0.5 * (constant - best)


def test_hotels_differ(corpus):
    """Reviews of a hotel resemble one another, so intervals have to be clustered."""
    hotel = np.unique(corpus.groups, return_inverse=True)[1]
    means = np.bincount(hotel, corpus.label) / np.bincount(hotel)
    assert means.var() > 1.3 * corpus.label.var() / 20
