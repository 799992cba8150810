"""The embedded corpus: its truth is true, its oracle is the best, its control holds nothing."""

import hashlib

import numpy as np
import pytest
from scipy.stats import norm, spearmanr
from sklearn.linear_model import LinearRegression, Ridge

from mmlib.daf import features, train
from mmlib.daf.train import Settings
from mmlib.data import DataError, load
from mmlib.data.columns import COVAREP, FACET
from mmlib.data.embedded import grammar
from mmlib.data.embedded.synthetic import GRID, noise_of, oracle, prior, synthetic
from mmlib.scores.passport import passport
from mmlib.text import encoding

N = 2000


@pytest.fixture(scope="module")
def corpus():
    return synthetic(0, N)


@pytest.fixture(scope="module")
def control():
    return synthetic(0, N, control=True)


def digest(corpus):
    arrays = [corpus.label, *corpus.truth.values(), *(s.values for s in corpus.sequences.values())]
    parts = [np.ascontiguousarray(a).tobytes() for a in arrays] + [" ".join(corpus.text).encode()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def test_a_seed_is_a_corpus():
    first, again, other = (digest(synthetic(seed, 200)) for seed in (3, 3, 4))
    assert first == again != other


def test_it_passes_every_check_of_a_corpus():
    found = load("synthetic", n=400, seed=2)
    assert found.variant == "seed 2, 400 utterances"
    assert passport(found).frames["columns"].index.tolist() == [("audio", "creak")]  # all zero


def test_too_small():
    with pytest.raises(DataError, match="n=199 does not fill three splits; use 200 or more"):
        synthetic(n=199)
    assert {split: len(synthetic(n=200).rows(split)) for split in ("train", "valid", "test")} == {
        "train": 140, "valid": 20, "test": 40,
    }  # fmt: skip


# Shape


def test_labels_are_moseis(corpus):
    thirds = corpus.label * 3
    np.testing.assert_allclose(thirds, thirds.round(), atol=1e-5)
    assert abs(corpus.label).max() <= 3 and 0.18 < (corpus.label == 0).mean() < 0.26
    assert prior().sum() == pytest.approx(1)


def test_splits_are_by_speaker(corpus):
    speakers = [{corpus.groups[i] for i in corpus.rows(s)} for s in ("train", "valid", "test")]
    assert [len(s) for s in speakers] == [70, 10, 20]
    assert not (speakers[0] & speakers[1] | speakers[0] & speakers[2] | speakers[1] & speakers[2])


def test_columns_and_ranges(corpus):
    audio, vision = corpus.sequences["audio"], corpus.sequences["vision"]
    assert (audio.columns, len(audio.columns)) == (COVAREP, 74)
    assert (vision.columns, len(vision.columns)) == (FACET, 35)
    for column, low, high in (("F0", 50, 500), ("VUV", 0, 1), ("NAQ", 0, 1), ("Rd", 0.3, 2.7)):
        values = audio.values[:, COVAREP.index(column)]
        assert values.min() >= low and values.max() <= high and values.std() > 0
    assert abs(vision.values).max() < 10 and np.isfinite(audio.values).all()


def test_some_utterances_lack_a_modality(corpus):
    for i, m in enumerate(("audio", "vision"), start=1):
        absent = corpus.sequences[m].lengths == 0
        assert 0.03 < absent.mean() < 0.07
        for name in ("informativeness", "precision", "weights"):
            assert (corpus.truth[name][absent, i] == 0).all()
    np.testing.assert_allclose(corpus.truth["weights"].sum(axis=1), 1)


# The truth


def test_evidence_is_as_noisy_as_its_informativeness_says(corpus):
    """Within the range, where clipping does not bite: |y| < 1, noise below 1."""
    q, e = corpus.truth["informativeness"], corpus.truth["evidence"]
    for m in range(3):
        clear = (q[:, m] > 0.7) & (abs(corpus.label) < 1)
        z = (e[clear, m] - corpus.label[clear]) / noise_of(q[clear, m])
        assert clear.sum() > 80 and z.std() == pytest.approx(1, abs=0.12)
    assert noise_of(np.array([1.0, 0.0])) == pytest.approx([0.2, 6.0])


def without_opening(sentence):
    """One of the openings is "okay so", and "okay" is an opinion."""
    return sentence.removeprefix(
        max((o for o in grammar.OPENINGS if sentence.startswith(o)), key=len)
    )


def test_words_carry_the_evidence(corpus):
    values = dict(zip(*grammar.opinions(), strict=True))
    rng = np.random.default_rng(0)
    for wanted in np.linspace(-3, 3, 61):
        gap = abs(values[grammar.phrase(wanted, rng)] - wanted)
        assert gap <= max(0.2, min(abs(v - wanted) for v in values.values())) + 1e-9
    assert abs(np.diff(np.sort(list(values.values())))).max() < 0.45
    said = [max((p for p in values if p in without_opening(t)), key=len) for t in corpus.text]
    off = np.array([values[p] for p in said]) - corpus.truth["evidence"][:, 0]
    assert abs(off).max() < 0.25


def test_every_manner_can_be_told_from_the_words(corpus):
    marks = {
        1.0: ("i mean it", "clear opinion", "no doubt", "certain"),
        0.75: ("i guess", "i suppose", "perhaps"),
        0.5: ("my cousin", "people online", "they told"),
        0.25: ("or something", "do not remember", "cannot say"),
        0.0: ("yeah right", "haha sure"),
    }
    for sentence, q in zip(corpus.text, corpus.truth["informativeness"][:, 0], strict=True):
        assert [level for level, signs in marks.items() if any(s in sentence for s in signs)] == [q]


@pytest.mark.parametrize("i, modality", [(1, "audio"), (2, "vision")])
def test_informativeness_can_be_heard_and_seen(corpus, i, modality):
    pooled = features.pool(corpus.sequences[modality])
    rows = np.flatnonzero(corpus.sequences[modality].lengths)
    z = (pooled[rows] - pooled[rows].mean(axis=0)) / (pooled[rows].std(axis=0) + 1e-6)
    fit, held = np.arange(len(rows)) % 2 == 0, np.arange(len(rows)) % 2 == 1
    for name, least in (("informativeness", 0.9), ("evidence", 0.9)):
        wanted = corpus.truth[name][rows, i]
        guess = Ridge(10).fit(z[fit], wanted[fit]).predict(z[held])
        assert spearmanr(guess, wanted[held])[0] > least


# The oracle


def posterior(e, q, present, width=1e-5):
    """P(y | evidence) from the share of noise that lands within `width` of what was seen."""
    p = prior().copy()
    for value, s, here in zip(e, noise_of(q), present, strict=True):
        if here:
            low = -np.inf if value <= -3 else value - width
            high = np.inf if value >= 3 else value + width
            p *= norm.cdf(high, GRID, s) - norm.cdf(low, GRID, s)
    return p / p.sum()


def test_no_answer_is_better_than_the_oracles(corpus):
    e, q = corpus.truth["evidence"], corpus.truth["informativeness"]
    present = corpus.truth["precision"] > 0
    answers = np.linspace(-3, 3, 601)
    clipped = np.flatnonzero((abs(e) == 3).any(axis=1))[:20]
    for i in (*range(40), *clipped):
        p = posterior(e[i], q[i], present[i])
        costs = np.abs(answers[:, None] - GRID) @ p
        assert np.abs(corpus.truth["oracle"][i] - GRID) @ p <= costs.min() + 1e-6


def test_the_oracle_beats_every_simple_rule(corpus):
    truth, y = corpus.truth, corpus.label

    def error(guess):
        return np.abs(guess - y).mean()

    best = error(truth["oracle"])
    assert best < error(np.full(N, np.median(y))) - 0.4
    np.testing.assert_allclose(
        truth["weighted"], (truth["weights"] * truth["evidence"]).sum(axis=1)
    )
    assert best < error(truth["weighted"])
    heard = truth["evidence"] * (truth["precision"] > 0)
    assert best < error(LinearRegression().fit(heard, y).predict(heard)) - 0.15
    for shift in (-1 / 3, 1 / 3):
        assert best < error(truth["oracle"] + shift)
    again = oracle(truth["evidence"], truth["informativeness"], truth["precision"] > 0)
    assert (again == truth["oracle"]).all()


def test_in_the_control_one_weighting_serves_all(control):
    q = control.truth["informativeness"]
    assert (q == q[0]).all() and (control.truth["weights"] == control.truth["weights"][0]).all()
    assert all(s.lengths.all() for s in control.sequences.values())
    heard, y = control.truth["evidence"], control.label
    fixed = np.abs(LinearRegression().fit(heard, y).predict(heard) - y).mean()
    assert fixed < np.abs(control.truth["oracle"] - y).mean() + 0.06


# What it is for


def words(texts, encoder="minilm", layers="last"):
    """Bag of words, (n, d): stands in for an encoder."""
    known = {w: k for k, w in enumerate(sorted({w for t in texts for w in t.split()}))}
    bags = np.zeros((len(texts), len(known)), np.float32)
    for i, sentence in enumerate(texts):
        bags[i, [known[w] for w in sentence.split()]] = 1
    return bags


def test_daf_gains_where_informativeness_varies_and_only_there(corpus, control, monkeypatch):
    monkeypatch.setattr(encoding, "encode", words)
    gains = []
    for source in (corpus, control):
        data, error = features.build(source.take(np.arange(1400))), {}
        test = data.take(data.rows("test"))
        for rule in ("static", "daf"):
            settings = Settings(rule, {"width": 32}, lr=2e-3, feature_dropout=0.2, epochs=20)
            score = train.fit(data, settings, range(2)).predict(test).score
            error[rule] = np.abs(score - test.label).mean()
        gains.append(error["static"] - error["daf"])
    assert gains[0] > 0.12 and abs(gains[1]) < 0.06
