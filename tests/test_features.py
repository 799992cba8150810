"""Pooling without padding, scaling by the training split, and text that is encoded once."""

from dataclasses import replace

import numpy as np
import pytest

from mmlib.daf.features import build, pool
from mmlib.data import Corpus, DataError, Sequences
from mmlib.stack.vectors import CLIP, Scaler
from mmlib.text import encoding
from mmlib.text.encoder import MINILM_PACKAGE


def sequences(lengths, d=3, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(5, 2, (sum(lengths), d))
    return Sequences(values, np.array(lengths, dtype=int), tuple("abcdef"[:d]))


def corpus(lengths=(3, 0, 5, 1, 4, 2), words=True, name="toy"):
    n = len(lengths)
    ids = tuple(f"u{i}" for i in range(n))
    return Corpus(
        name,
        "by hand",
        ids,
        ids,
        np.resize(["train", "train", "valid", "train", "test", "train"], n),
        np.linspace(-3, 3, n),
        tuple(f"utterance {i}" for i in range(n)) if words else None,
        {"audio": sequences(lengths), "vision": sequences([2] * n, 2)},
        checksums={"toy.csv": "abc"},
    )


@pytest.fixture
def encoded(monkeypatch):
    """What `encode` was asked for; its states are the text's last digit and its square."""
    asked = []

    def encode(texts, encoder="minilm", layers="last", **other):
        asked.append({"encoder": encoder, "layers": layers, **other})
        states = np.array([[int(t[-1]), int(t[-1]) ** 2] for t in texts], np.float32)  # (n, d)
        return np.stack([states, states + 1, states + 2], 1) if layers == "all" else states

    monkeypatch.setattr(encoding, "encode", encode)
    return asked


# Pooling


@pytest.mark.parametrize(
    "lengths", [(3, 1, 7), (0, 4, 0, 0, 2, 0), (2,), (1, 1, 1), (0, 1, 0), (0, 0), (60, 2)]
)
def test_pool_is_numpy_for_each_utterance(lengths):
    found, whole = pool(s := sequences(lengths)), max(lengths) > 1
    assert found.dtype == np.float32 and found.shape == (len(lengths), 6 if whole else 3)
    for i, t in enumerate(lengths):
        mean = s[i].mean(axis=0) if t else np.zeros(3)
        sd = s[i].std(axis=0) if t else np.zeros(3)
        np.testing.assert_allclose(found[i, :3], mean, rtol=1e-5)
        np.testing.assert_allclose(found[i, 3:], sd if whole else [], atol=1e-5)


def test_pool_is_exact_far_from_zero():
    values = np.full((8, 1), 1e6) + np.resize([0, 1], (8, 1))
    found = pool(Sequences(values, np.array([4, 4]), ("a",)))
    np.testing.assert_allclose(found, [[1e6 + 0.5, 0.5]] * 2, atol=0.01)
    assert pool(Sequences(np.full((3, 1), 0.1), np.array([3]), ("a",)))[0, 1] == 0


def test_no_padding_enters():
    s = sequences((2, 50))
    padded = np.zeros((2, 50, 3))
    for i in range(2):
        padded[i, : s.lengths[i]] = s[i]
    averaged = padded.mean(axis=1)  # what peers do
    assert abs(averaged[0] - s[0].mean(axis=0)).min() > 3
    np.testing.assert_allclose(pool(s)[1, :3], averaged[1], rtol=1e-5)


def test_frames_of_zeros_are_no_frames():
    values = np.array([[1, 2], [0, 0], [3, 4], [0, 0], [0, 0]])
    s = Sequences(values, np.array([3, 2]), ("a", "b"))
    np.testing.assert_allclose(pool(s), [[2, 3, 1, 1], [0, 0, 0, 0]])
    lost = replace(corpus(words=False), sequences={"audio": Sequences(
        np.zeros((6, 2)), np.ones(6, int), ("a", "b"))})  # fmt: skip
    with pytest.raises(DataError, match="no training utterance has audio"):
        build(lost)


# Scaling


def test_scaler_sees_training_rows_that_have_the_modality():
    x = {"audio": np.random.default_rng(0).normal(3, 2, (9, 4)).astype(np.float32)}
    x["audio"][:, 3] = 7  # constant
    present, train = np.ones((9, 1), bool), np.arange(5)
    present[2] = False
    found = Scaler.fit(x, present, train)
    spoilt = {"audio": x["audio"].copy()}
    spoilt["audio"][[2, 5, 6, 7, 8]] = 1e6
    again = Scaler.fit(spoilt, present, train)
    used = x["audio"][[0, 1, 3, 4]]
    np.testing.assert_allclose(found.mean["audio"], used.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.scale["audio"][:3], used.std(axis=0)[:3], rtol=1e-5)
    assert (found.mean["audio"] == again.mean["audio"]).all() and np.isinf(found.scale["audio"][3])
    z = again.apply(spoilt, present)["audio"]
    assert (z[2] == 0).all() and (z[5:, :3] == CLIP).all() and (z[:2, 3] == 0).all()


def test_a_constant_stays_without_scale_though_sums_of_floats_are_rounded():
    x, present = {"audio": np.full((1283, 3), 2.7, np.float32)}, np.ones((1283, 1), bool)
    assert (x["audio"].std(axis=0) > 1e-6).all()
    found = Scaler.fit(x, present, np.arange(1283))
    assert (found.apply({"audio": x["audio"] + 0.003}, present)["audio"] == 0).all()


def test_build_scales_by_the_training_split(encoded):
    found = build(corpus())
    rows = found.rows("train")
    assert found.modalities == ("text", "audio", "vision")
    for i, m in enumerate(found.modalities):
        inside = found.x[m][rows[found.present[rows, i]]]
        np.testing.assert_allclose(inside.mean(axis=0), 0, atol=1e-5)
        assert found.x[m].dtype == np.float32 and abs(found.x[m]).max() <= CLIP
    assert not found.present[1, 1] and found.present[:, [0, 2]].all()
    assert (found.x["audio"][1] == 0).all()


def test_text_states_of_all_layers_lie_end_to_end(encoded):
    assert build(corpus()).dims == {"text": 6, "audio": 6, "vision": 4}
    found = build(corpus(), ["text"], layers="last", encoder="other")
    assert found.dims == {"text": 2}
    assert encoded == [
        {"encoder": "minilm", "layers": "all"}, {"encoder": "other", "layers": "last"},
    ]  # fmt: skip
    assert found.origin == {
        "variant": "by hand",
        "checksums": {"toy.csv": "abc"},
        "encoder": {"layers": "last", "encoder": "other"},
    }


def test_another_corpus_is_scaled_as_training_was(encoded):
    here = build(corpus(), ["audio", "text"])
    there = build(corpus((4, 4, 3)), scaler=here.scaler)
    assert there.modalities == ("audio", "text") and there.scaler is here.scaler
    raw = pool(corpus((4, 4, 3)).sequences["audio"])
    expected = (raw - here.scaler.mean["audio"]) / here.scaler.scale["audio"]
    np.testing.assert_allclose(there.x["audio"], expected.clip(-CLIP, CLIP), atol=1e-5)


def test_a_modality_that_nobody_has_is_as_wide_as_in_training(encoded):
    here = build(corpus(), ["audio", "text"])
    deaf = build(corpus().take(np.array([1])), scaler=here.scaler)  # without audio
    assert deaf.dims == here.dims and not deaf.present[0, 0] and not deaf.x["audio"].any()


def test_texts_that_are_all_missing_are_absent(monkeypatch):
    monkeypatch.setattr(encoding, "encode", lambda texts, **_: np.ones((len(texts), 2), np.float32))
    mute = replace(corpus((3, 4)), text=("", ""))
    scaler = build(corpus(), ["text", "audio"]).scaler
    found = build(mute, scaler=scaler)
    assert found.present.tolist() == [[False, True]] * 2 and not found.x["text"].any()


def test_a_modality_named_twice_counts_once(encoded):
    assert build(corpus(), ["audio", "text", "audio"]).present.shape == (6, 2)


def test_without_words_a_text_sequence_will_do():
    silent = replace(corpus(words=False), sequences={"text": sequences([2] * 6)})
    assert build(silent).dims == {"text": 6}


def test_only_and_take(encoded):
    found = build(corpus())
    some = found.only(["vision", "text"]).take(np.array([4, 1]))
    assert some.modalities == ("vision", "text") == tuple(some.scaler.mean)
    assert some.ids == ("u4", "u1") and some.split.tolist() == ["test", "train"]
    np.testing.assert_array_equal(some.x["text"], found.x["text"][[4, 1]])
    np.testing.assert_array_equal(some.present, found.present[[4, 1]][:, [2, 0]])


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: build(corpus(), ["audio", "touch"]), "toy has no touch; it has text, audio"),
        (lambda: build(corpus(words=False), ["text"]), "toy has no text"),
        (lambda: build(corpus((0, 0, 3, 0, 2, 0)), ["audio"]), "no training utterance has audio"),
        (lambda: build(corpus(), ["audio"]).only(["text"]), "asked for; toy has"),
        (lambda: build(corpus(), ["audio"]).only([]), "asked for; toy has"),
        (
            lambda: build(corpus(), ["vision"], Scaler({"vision": np.zeros(9)}, {})),
            "vision has 4 features, training had 9",
        ),
        (
            lambda: build(corpus(), ["vision"], build(corpus(), ["audio"]).scaler),
            "vision has 4 features, training had 0",
        ),
        (
            lambda: build(
                corpus((0, 3)).take(np.array([0])), ["audio"], build(corpus(), ["vision"]).scaler
            ),
            "audio has . features, training had 0",
        ),
    ],
)
def test_bad_input(make, says):
    with pytest.raises(DataError, match=says) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_real_text_features(tmp_path, monkeypatch):
    pytest.importorskip(MINILM_PACKAGE, reason="extra 'offline' is not installed")
    monkeypatch.setenv("MMLIB_CACHE", str(tmp_path))
    found = build(corpus(), ["text"])
    assert found.dims == {"text": 7 * 384} and np.isfinite(found.x["text"]).all()
    last = build(corpus(), ["text"], layers="last")
    np.testing.assert_allclose(last.x["text"], found.x["text"][:, -384:], atol=1e-3)
