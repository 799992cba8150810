"""The stack is its members, each alone; each stops by itself; the test split is never read."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from mmlib import files
from mmlib.daf import fusion, saved, train
from mmlib.daf.features import build
from mmlib.daf.train import Member, Settings, Streams, fit
from mmlib.data import Corpus, DataError, Sequences, load
from mmlib.stack import loop, training
from mmlib.stack.vectors import Features, Scaler
from mmlib.text import made

DIMS = {"text": 6, "audio": 4}
TINY = Settings(shape={"width": 4}, batch=16, epochs=4, patience=4, lr=1e-2, fusion_lr=2.0)
SPLITS = {"train": 60, "valid": 30, "test": 30}


def features(seed=0, **splits):
    """Random features whose label is a noisy sum; groups of five."""
    rng, sizes = np.random.default_rng(seed), SPLITS | splits
    n = sum(sizes.values())
    x = {m: rng.standard_normal((n, d)).astype(np.float32) for m, d in DIMS.items()}
    label = sum(v[:, :2].sum(axis=1) for v in x.values()) + rng.standard_normal(n)
    ids = tuple(f"u{i}" for i in range(n))
    groups = tuple(f"g{i // 5}" for i in range(n))
    present = rng.random((n, 2)) > 0.1
    scaler = Scaler({m: np.zeros(d, np.float32) for m, d in DIMS.items()},
                    {m: np.ones(d, np.float32) for m, d in DIMS.items()})  # fmt: skip
    split = np.repeat(list(sizes), list(sizes.values()))
    return Features("random", ids, groups, split, label.astype(np.float32), x, present, scaler)


DATA = features()
ROWS = {split: DATA.rows(split) for split in SPLITS}


def parameters(model, member=0):
    return {name: value[member].clone() for name, value in model.state_dict().items()}


def same(a, b, atol):
    return all(torch.allclose(a[name], b[name], atol=atol) for name in a)


# The stack is its members, each alone


def plain_loop(settings: Settings, seed: int, steps: int) -> dict[str, torch.Tensor]:
    """The usual loop: one model, torch's AdamW, batch after batch."""
    streams = Streams.of(seed)
    member = Member(settings, seed, ROWS["train"], ROWS["valid"])
    model = fusion.create(settings.rule, DATA.dims, **settings.shape).reset([streams.weights])
    own = dict(model.fusion_parameters())
    rest = [p for name, p in model.named_parameters() if name not in own]
    groups = [{"params": rest}, {"params": own.values(), "lr": settings.lr * settings.fusion_lr}]
    adamw = torch.optim.AdamW(
        groups, lr=settings.lr, weight_decay=settings.weight_decay, eps=loop.EPS
    )
    masks, (x, present, label) = train.noise([member], [streams]), train.tensors(DATA)
    done = 0
    while done < steps:
        order = torch.from_numpy(streams.order.permutation(ROWS["train"]))
        for batch in order.split(settings.batch)[: len(order) // settings.batch]:
            batch = batch[None]  # (s, b)
            score = model({m: v[batch] for m, v in x.items()}, present[batch], masks).score
            adamw.zero_grad()
            train.error(score, label[batch], settings.corner).mean().backward()
            adamw.step()
            done += 1
            if done == steps:
                break
    return parameters(model)


VARIED = [
    TINY,
    replace(TINY, dropout=0.0, feature_dropout=0.25),
    replace(TINY, lr=3e-3, weight_decay=0.3, modality_dropout=0.4),
    replace(TINY, fusion_lr=10.0),
]


@pytest.mark.parametrize("rule", fusion.RULES)
def test_a_stack_is_so_many_plain_loops(rule):
    seeds, steps, after = (3, 5), 20, {}
    settings = [replace(one, rule=rule, epochs=8, patience=8) for one in VARIED]

    def keep(step, model):
        if step == steps:
            after.update({k: parameters(model, k) for k in range(model.s)})

    found = fit(DATA, settings, seeds, on_step=keep)
    assert len(after) == len(found.members) == 8
    for k, member in enumerate(found.members):
        assert same(plain_loop(member.settings, member.seed, steps), after[k], 1e-5), (rule, k)


PATIENT = replace(TINY, epochs=30, patience=2)
STACK = [replace(PATIENT, lr=0.1), PATIENT, replace(PATIENT, lr=3e-2, dropout=0.1)]


@pytest.fixture(scope="module")
def stack():
    """Three settings x four seeds; all of the first setting stop before the others."""
    return fit(DATA, STACK, range(4))


@pytest.mark.parametrize("k", [0, 6, 9])
def test_a_member_alone_is_the_same(stack, k):
    member = stack.members[k]
    alone = fit(DATA, member.settings, [member.seed])
    assert alone.best_epoch[0] == stack.best_epoch[k]
    assert alone.valid_loss[0] == pytest.approx(stack.valid_loss[k], abs=1e-4)
    assert same(parameters(alone.model), parameters(stack.model, k), 1e-4)
    for name, curve in alone.curves.items():
        np.testing.assert_allclose(stack.curves[name][: len(curve), k], curve[:, 0], atol=1e-4)


def test_two_runs_agree_bit_for_bit(stack):
    again = fit(DATA, STACK, range(4))
    for name, value in stack.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
    assert (stack.valid_loss == again.valid_loss).all()


def test_the_last_bit_of_the_features_does_not_decide_what_is_learned():
    rng = np.random.default_rng(0)
    x = {m: v * (1 + rng.choice([-1e-7, 1e-7], v.shape)) for m, v in DATA.x.items()}
    shaken = replace(DATA, x={m: v.astype(np.float32) for m, v in x.items()})
    long = replace(TINY, epochs=200, patience=200, lr=3e-3)
    one, other = (fit(data, long, range(4)) for data in (DATA, shaken))
    shared = one.best_epoch == other.best_epoch
    for name, curve in one.curves.items():
        apart = np.abs(curve - other.curves[name])  # (epochs, s)
        assert apart[:100].max() < 1e-4
        shared &= apart.max(axis=0) < 1e-4
    assert shared.sum() >= 3  # of four; now and then one goes another way after 100 epochs
    scores = (fitted.predict(DATA).score[shared] for fitted in (one, other))
    np.testing.assert_allclose(*scores, atol=1e-4)


def test_the_loss_is_the_absolute_error_with_a_rounded_corner():
    label = torch.zeros(1, 5)
    score = torch.tensor([[-2.0, -0.1, 0.0, 0.1, 2.0]], requires_grad=True)
    loss = train.error(score, label, 0.5)
    torch.testing.assert_close(loss, torch.tensor([[1.75, 0.01, 0.0, 0.01, 1.75]]))
    loss.sum().backward()
    torch.testing.assert_close(score.grad, torch.tensor([[-1.0, -0.2, 0.0, 0.2, 1.0]]))
    assert torch.equal(train.error(score, label, 0), score.abs())


def test_each_member_stops_by_itself_and_is_left_at_its_best(stack):
    valid = stack.curves["valid"]  # (epochs, s)
    stops = np.minimum(stack.best_epoch + PATIENT.patience + 1, PATIENT.epochs)
    assert len(set(stops)) > 4 and stops.max() == len(valid) > stops[:4].max()
    for k, stop in enumerate(stops):
        assert stack.best_epoch[k] == valid[:stop, k].argmin()
        assert (valid[stop:, k] == valid[stop - 1, k]).all()
    score = stack.predict(DATA.take(ROWS["valid"])).score
    error = np.abs(score - DATA.label[ROWS["valid"]]).mean(axis=1)
    np.testing.assert_allclose(error, stack.valid_loss, atol=1e-5)


# Which rows


def rows_seen(monkeypatch, data, settings, **options):
    """The row numbers of every training batch, (s, b) each, and the members."""
    seen, real = [], train._Task.losses

    def watched(self, model, rows, noise=None):
        if torch.is_grad_enabled():
            seen.append(rows.numpy())
        return real(self, model, rows, noise)

    monkeypatch.setattr(train._Task, "losses", watched)
    found = fit(data, settings, **options)
    return seen, found.members


@pytest.mark.parametrize("batch, sizes", [(16, [16] * 3), (60, [60]), (200, [60]), (7, [7] * 8)])
def test_an_epoch_is_whole_batches_of_distinct_rows(monkeypatch, batch, sizes):
    settings = replace(TINY, batch=batch, epochs=1)
    seen, _ = rows_seen(monkeypatch, DATA, settings, seeds=range(2))
    assert [rows.shape for rows in seen] == [(2, size) for size in sizes]
    for k in range(2):
        epoch = np.concatenate([rows[k] for rows in seen])
        assert len(set(epoch)) == len(epoch) and set(epoch) <= set(ROWS["train"])
    assert (seen[0][0] != seen[0][1]).any()


def test_folds_hold_out_whole_groups_and_all_of_them(monkeypatch):
    data = features(train=63)  # folds of unequal size
    seen, members = rows_seen(monkeypatch, data, replace(TINY, epochs=2), seeds=[0], folds=4)
    known = np.flatnonzero(data.split != "test")
    assert sorted(np.concatenate([member.valid for member in members])) == known.tolist()
    groups = np.array(data.groups)
    for k, member in enumerate(members):
        assert not set(groups[member.train]) & set(groups[member.valid])
        assert {row for rows in seen for row in rows[k]} <= set(member.train)


def test_a_fold_does_not_depend_on_who_else_is_trained():
    data = features(train=63)
    both = fit(data, [PATIENT, replace(PATIENT, lr=3e-2)], range(2), folds=3)
    alone = fit(data, PATIENT, [1], folds=3)
    np.testing.assert_allclose(both.valid_loss[1:6:2], alone.valid_loss, atol=1e-4)


@pytest.mark.parametrize("folds", [None, 3])
def test_the_test_split_is_never_read(folds):
    spoilt = replace(DATA, label=DATA.label.copy(), x={m: v.copy() for m, v in DATA.x.items()})
    for array in (spoilt.label, *spoilt.x.values()):
        array[ROWS["test"]] = np.nan
    clean, other = (fit(data, TINY, [0], folds) for data in (DATA, spoilt))
    assert (clean.valid_loss == other.valid_loss).all()
    choice = [TINY, replace(TINY, lr=1e-3)]
    assert np.array_equal(train.select(DATA, choice, 3)[1], train.select(spoilt, choice, 3)[1])


def test_select_takes_the_lowest_cross_validated_error():
    choice = [replace(TINY, lr=1e-6), TINY, replace(TINY, lr=1e-5)]
    best, errors = train.select(DATA, choice, folds=3, seeds=(0, 1))
    assert best == TINY and errors.argmin() == 1 and errors.shape == (3,)
    one = fit(DATA, TINY, (0, 1), folds=3)
    assert errors[1] == pytest.approx(one.valid_loss.mean(), abs=1e-4)


# Bad input


def with_label(split, value):
    label = DATA.label.copy()
    label[ROWS[split][0]] = value
    return replace(DATA, label=label)


@pytest.mark.parametrize(
    "data, settings, error, says",
    [
        (with_label("train", np.nan), replace(TINY, batch=60), DataError, "label holds values"),
        (DATA, [TINY, replace(TINY, rule="mean")], ValueError, "2 different shapes"),
        (DATA, [TINY, replace(TINY, shape={"width": 5})], ValueError, "2 different shapes"),
        (DATA, [TINY, replace(TINY, patience=9)], ValueError, "2 different shapes"),
        (DATA, replace(TINY, dropout=1.0), ValueError, "dropout rate 1.0: give one"),
        (DATA, replace(TINY, rule="sum"), ValueError, "unknown fusion rule"),
        (DATA.take(ROWS["train"]), TINY, DataError, "no utterance in split valid"),
        (DATA.take(ROWS["valid"]), TINY, DataError, "no utterance in split train"),
    ],
)
def test_bad_input_of_fit(data, settings, error, says):
    with pytest.raises(error, match=says) as caught:
        fit(data, settings, [0])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "bad, says",
    [
        ({"batch": 0}, "batch=0: no training is possible; give more than 0"),
        ({"epochs": 0}, "epochs=0: no training is possible"),
        ({"patience": 0}, "patience=0: no training is possible"),
        ({"shape": {"width": 0}}, "width=0: no training is possible"),
        ({"shape": {"scorer_width": -1}}, "scorer_width=-1: no training is possible"),
        ({"lr": -1}, "lr=-1 is not a rate; give 0 or more"),
        ({"lr": np.nan}, "lr=nan is not a rate"),
        ({"fusion_lr": -1.0}, "fusion_lr=-1.0 is not a rate"),
        ({"weight_decay": -1}, "weight_decay=-1 is not a rate"),
    ],
)
def test_numbers_that_train_nothing_are_refused(bad, says):
    with pytest.raises(ValueError, match=says) as caught:
        replace(TINY, **bad)
    assert "\n" not in str(caught.value)


def test_a_stack_needs_seeds_and_settings():
    with pytest.raises(ValueError, match=r"no seeds to train; pass one or more"):
        fit(DATA, TINY, [])
    with pytest.raises(ValueError, match=r"no settings to train with; pass one or more"):
        fit(DATA, [], [0])


def test_a_training_loss_that_is_not_finite_is_an_error(monkeypatch):
    monkeypatch.setattr(train, "error", lambda score, label, corner: score / 0)
    with pytest.raises(FloatingPointError, match="the loss of step 1 is not finite: lower lr"):
        fit(DATA, TINY, [0])


def test_a_validation_loss_that_is_not_finite_is_an_error(monkeypatch):
    real = train._Task.criterion

    def late(self, losses):
        late.calls += 1
        return real(self, losses) + (np.array([0, np.inf, 0]) if late.calls == 3 else 0)

    late.calls = 0
    monkeypatch.setattr(train._Task, "criterion", late)
    with pytest.raises(
        FloatingPointError, match=r"the validation loss of seed 7 .* after epoch 3:"
    ):
        fit(DATA, TINY, [6, 7, 8])


# Predicting


def test_predict_in_blocks_is_predict_at_once(stack, monkeypatch):
    whole = stack.predict(DATA)
    monkeypatch.setattr(training, "BLOCK", 7)
    for a, b in zip(whole, stack.predict(DATA), strict=True):
        assert a.shape[:2] == (12, len(DATA))
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_predict_finds_its_modalities_by_name(stack):
    swapped = stack.predict(DATA.only(["audio", "text"]))
    np.testing.assert_array_equal(swapped.score, stack.predict(DATA).score)
    with pytest.raises(DataError, match="asked for"):
        stack.predict(DATA.only(["audio"]))
    wide = replace(DATA, x={**DATA.x, "text": np.zeros((len(DATA), 9), np.float32)})
    with pytest.raises(DataError, match="the model was trained on"):
        stack.predict(wide)


def test_rules_without_weights_predict_none():
    found = fit(DATA, replace(TINY, rule="gmu", epochs=1), [0]).predict(DATA)
    assert found.weights is None and found.score.shape == (1, len(DATA))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_trains_the_same_models(stack):
    there = fit(DATA, STACK, range(4), device="cuda")
    np.testing.assert_allclose(there.curves["valid"][:3], stack.curves["valid"][:3], atol=1e-3)
    assert there.model.head.bias.is_cuda and there.predict(DATA).score.shape == (12, len(DATA))


# Saved and loaded


def corpus(n=80, d=3, seed=1):
    """Two feature sequences, one of them missing here and there."""
    rng = np.random.default_rng(seed)
    label = rng.uniform(-2, 2, n)
    lengths = {"audio": rng.integers(2, 5, n), "vision": rng.integers(0, 3, n)}
    sequences = {
        m: Sequences(
            rng.standard_normal((t.sum(), d)) + np.repeat(label, t)[:, None], t, tuple("abcde"[:d])
        )
        for m, t in lengths.items()
    }
    split = np.resize(["train", "train", "valid", "test"], n)
    ids = tuple(f"u{i}" for i in range(n))
    return Corpus("toy", "seed 1", ids, ids, split, label, sequences=sequences,
                  checksums={"toy.csv": "abc"})  # fmt: skip


def predicted(path, data):
    """A saved model's prediction for a corpus."""
    loaded = saved.load(path)
    return train.predict(loaded.model, loaded.features(data))


@pytest.mark.parametrize("rule", ["daf", "lmf"])
def test_saved_and_loaded_predicts_the_same(tmp_path, rule):
    toy = corpus()
    data = build(toy, layers="last")
    fitted = fit(data, replace(TINY, rule=rule), range(3))
    path = saved.save(fitted, data, tmp_path / "new" / "toy.safetensors")
    assert sorted(p.name for p in path.parent.iterdir()) == ["toy.json", "toy.safetensors"]

    loaded, expected = saved.load(path), fitted.predict(data)
    some = np.arange(5, 50)
    assert loaded.features(toy.take(some)).ids == toy.ids[5:50]
    prediction = predicted(path, toy.take(some))
    for found, wanted in zip(prediction, expected, strict=True):
        assert (found is None) == (wanted is None) == (rule == "lmf" and found is None)
        if found is not None:
            np.testing.assert_allclose(found, wanted[:, some], atol=1e-6)
    assert loaded.about["data"] == {"name": "toy", "variant": "seed 1",
                                    "checksums": {"toy.csv": "abc"}}  # fmt: skip
    assert loaded.about["encoder"] == {"layers": "last"}
    assert [member["seed"] for member in loaded.about["members"]] == [0, 1, 2]
    if rule == "daf":
        absent = toy.sequences["vision"].lengths[some] == 0
        assert absent.any() and (prediction.weights[:, absent, 1] == 0).all()


@pytest.fixture
def on_disk(tmp_path):
    data = build(corpus())
    return saved.save(fit(data, TINY, [0]), data, tmp_path / "toy.safetensors")


def test_an_unknown_device_is_no_damaged_file(on_disk):
    with pytest.raises(RuntimeError, match="gpu"):
        saved.load(on_disk, device="gpu")


def flip_a_byte(path):
    blob = bytearray(path.read_bytes())
    blob[-1] ^= 1
    path.write_bytes(blob)


@pytest.mark.parametrize(
    "harm, says",
    [
        (flip_a_byte, "damaged, or not what"),
        (lambda p: p.write_bytes(p.read_bytes()[:50]), "damaged, or not what"),
        (lambda p: p.unlink(), "toy.safetensors is missing"),
        (lambda p: p.with_suffix(".json").unlink(), "toy.json is missing"),
        (lambda p: p.with_suffix(".json").write_text('{"rule": "daf'), "toy.json is damaged"),
        (lambda p: p.with_suffix(".json").write_text("[]"), "damaged, or not what"),
        (lambda p: edit(p, '"width": 4', '"width": 5'), "damaged, or not what"),
        (lambda p: edit(p, '"rule": "daf"', '"rule": "mean"'), "damaged, or not what"),
    ],
)
def test_a_damaged_save_says_so(on_disk, harm, says):
    harm(on_disk)
    with pytest.raises(ValueError, match=says) as caught:
        saved.load(on_disk)
    assert "\n" not in str(caught.value)


def edit(path, old, new):
    about = path.with_suffix(".json")
    assert old in about.read_text()
    about.write_text(about.read_text().replace(old, new))


def test_bad_input_of_save(tmp_path, on_disk):
    data = build(corpus())
    found = fit(data, TINY, [0])
    with pytest.raises(ValueError, match=r"is named NAME\.safetensors"):
        saved.save(found, data, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="the model was trained on features"):
        saved.save(found, data.only(["audio"]), tmp_path / "x.safetensors")
    with pytest.raises(DataError, match="audio has 10 features, training had 6"):
        predicted(on_disk, corpus(d=5))
    assert not (tmp_path / "x.safetensors").exists()


def test_a_saved_model_refuses_other_weights_of_its_encoder(tmp_path):
    words = [f"the {a} was {b}" for b in range(500) for a in ["room", "soup", "staff", "view"]]
    folder = made.small(words, width=32, depth=1, steps=1)
    folder = shutil.copytree(folder, tmp_path / "mine")
    spoken = replace(corpus(), text=tuple(words[:80]))
    data = build(spoken, ["text", "audio"], encoder=str(folder))
    path = saved.save(fit(data, TINY, [0]), data, tmp_path / "toy.safetensors")
    assert predicted(path, spoken).score.shape == (1, 80)
    tokens = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(tokens.replace('"good"', '"Good"') + " ")
    with pytest.raises(DataError, match=r"mine is not the one of training \(other SHA-256\)"):
        predicted(path, spoken)
    (folder / "tokenizer.json").write_text(tokens)
    assert predicted(path, spoken).score.shape == (1, 80)
    flip_a_byte(folder / "model.safetensors")
    with pytest.raises(DataError, match=r"mine is not the one of training \(other SHA-256\)"):
        predicted(path, spoken)


def test_an_interrupted_save_leaves_the_old_one(on_disk, monkeypatch):
    before = predicted(on_disk, corpus())
    data = build(corpus())
    other = fit(data, TINY, [1])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        saved.save(other, data, on_disk)
    assert len(list(on_disk.parent.iterdir())) == 2
    for now, then in zip(predicted(on_disk, corpus()), before, strict=True):
        np.testing.assert_array_equal(now, then)


# What cannot be learned from


def corrupt(data, what: str):
    """The features with NaN in what the name says, or with fewer utterances."""
    broken = {m: values.copy() for m, values in data.x.items()}
    broken["audio"][3, :2] = np.nan
    label = data.label.copy()
    label[data.rows("valid")[1]] = np.nan
    one = np.sort(np.r_[data.rows("train"), data.rows("valid")[:1]])
    return {
        "feature": lambda: replace(data, x=broken),
        "label": lambda: replace(data, label=label),
        "valid": lambda: data.take(one),
        "groups": lambda: replace(data, groups=("one",) * len(data)),
    }[what]()


@pytest.mark.parametrize(
    ("what", "folds", "line"),
    [
        ("feature", None, "audio holds values that are not finite: 2 of"),
        ("label", None, "label holds values that are not finite: 1 of"),
        ("valid", None, "has 1 utterance in split valid; training needs 2 or more"),
        (
            "groups",
            3,
            r"folds=3 do not suit the groups of train and valid \(1\); use 2 folds or more",
        ),
        ("groups", 1, "folds=1 do not suit the groups"),
    ],
)
def test_what_cannot_be_learned_from_is_named(what, folds, line):
    with pytest.raises(DataError, match=line) as caught:
        fit(corrupt(DATA, what), TINY, [0], folds)
    assert "\n" not in str(caught.value)
    if what == "feature":
        assert repr(DATA.ids[3]) in str(caught.value)


def test_frames_named_text_stand_for_the_words_and_that_is_said(caplog):
    corpus = load("synthetic", n=200)
    frames = corpus.sequences["audio"]
    own = replace(corpus, sequences={**corpus.sequences, "text": frames})
    data = build(own, ["text"])
    assert data.dims["text"] == 2 * len(frames.columns)
    assert "the frames named 'text' replace its words" in caplog.text
