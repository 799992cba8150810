"""The kept models on new recordings, and how they are made."""

from dataclasses import replace

import ipywidgets
import numpy as np
import pytest
from IPython.display import Audio
from matplotlib import pyplot as plt

from mmlib.daf import apply, pretrain, saved, train
from mmlib.data import SPLITS, Corpus, DataError, Sequences, load
from mmlib.data.columns import COVAREP, FACET, numbered
from mmlib.figures import cards, stepper
from mmlib.files import data_root
from mmlib.scores.metrics import score

RNG = np.random.default_rng(0)


def recordings(vision: bool = True) -> Corpus:
    """Four utterances without labels: all there; no voice; no face; words alone."""
    heard, seen = np.array([2, 0, 1, 0]), np.array([1, 3, 0, 0])
    audio = Sequences(RNG.normal(size=(3, 74)), heard, COVAREP)
    faces = Sequences(RNG.normal(size=(4, 35)), seen, FACET)
    return Corpus(
        "recordings", "made", ("a", "b", "c", "d"), ("x",) * 4, np.array(["test"] * 4),
        np.full(4, np.nan), ("It was GREAT!", "It was awful.", "So-so ...", "Hm, fine."),
        {"audio": audio, **({"vision": faces} if vision else {})},
    )  # fmt: skip


@pytest.mark.parametrize("vision", [True, False])
def test_a_verdict_adds_up(vision):
    model = apply.model_for(corpus := recordings(vision))
    names = ["text", "audio", *["vision"] * vision]
    assert list(model.model.modalities) == names
    assert apply.borrowed(model) == (("vision",) if vision else ())
    found = apply.verdict(model, corpus)
    heard = {"a": "text+audio+vision", "b": "text+vision", "c": "text+audio", "d": "text"}
    kept = [heard[i] if vision else heard[i].replace("+vision", "") for i in found["id"]]
    assert found["heard"].tolist() == kept
    weight, opinion = (found[[f"{w}_{m}" for m in names]] for w in ("weight", "opinion"))
    assert weight.sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
    assert np.nansum(weight.to_numpy() * opinion.to_numpy(), axis=1) == pytest.approx(
        found["score"], abs=1e-4
    )
    assert ((weight == 0).to_numpy() == opinion.isna().to_numpy()).all()
    assert found["score"][0] > 0 > found["score"][1], "great and awful"


def test_without_a_modality_is_the_score_of_an_utterance_that_lacks_it():
    corpus = recordings()
    model = apply.model_for(corpus)
    found = apply.verdict(model, corpus)
    deaf = replace(corpus, sequences={"vision": corpus.sequences["vision"]})
    again = apply.verdict(model, deaf)
    had = found["heard"].str.contains("audio")
    assert found["without_audio"][had].to_numpy() == pytest.approx(again["score"][had], abs=1e-5)
    assert found["without_audio"][~had].isna().all()
    assert np.isnan(found["without_text"][3]), "nothing else is there"


def test_the_interval_is_that_of_what_was_measured():
    corpus = recordings()
    model = apply.model_for(corpus)
    half, found = model.about["data"]["halfwidth"], apply.verdict(model, corpus)
    for name, row in zip(
        ["text+audio", "text", "text+audio", "text"], found.itertuples(), strict=True
    ):
        assert row.high - row.score == pytest.approx(half[name], abs=1e-4)  # a face narrows nothing
        assert row.score - row.low == pytest.approx(half[name], abs=1e-4)


def test_columns_are_taken_by_name_and_averaged():
    corpus = recordings()
    order = RNG.permutation(74)
    audio = corpus.sequences["audio"]
    mixed = Sequences(audio.values[:, order], audio.lengths, tuple(COVAREP[i] for i in order))
    other = replace(corpus, sequences={**corpus.sequences, "audio": mixed})
    model = apply.model_for(corpus)
    assert apply.verdict(model, other).equals(apply.verdict(model, corpus))
    reduced = apply.matched(corpus, {"audio": ("Rd", "F0")}).sequences["audio"]
    assert reduced.lengths.tolist() == [1, 0, 1, 0]
    assert reduced[0][0] == pytest.approx(audio[0].mean(axis=0)[[8, 0]])
    with pytest.raises(DataError, match="has no text; the model reads text"):
        apply.matched(replace(corpus, text=None), {"audio": ("Rd", "F0")})
    foreign = Sequences(audio.values[:, :2], audio.lengths, ("loudness", "pitch"))
    with pytest.raises(DataError, match="no column 'F0'"):
        apply.verdict(model, replace(corpus, sequences={"audio": foreign}))


@pytest.mark.parametrize(
    "text, expected",
    [
        ("It's GOOD, really!", "it's good really"),
        ("I don’t", "i don't"),
        ("a_b -- c", "a b c"),
        ("?!", "?!"),
    ],
)
def test_words_as_mosi_writes_them(text, expected):
    assert apply.plain(text) == expected


@pytest.mark.parametrize("name", ["mosi-ta", "mosi-tav"])
def test_kept_models_are_whole_and_have_a_card(name):
    model = saved.load(apply.MODELS / f"{name}.safetensors")
    card = (apply.MODELS / f"{name}.md").read_text()
    for checksum in model.about["data"]["checksums"].values():
        assert checksum[:12] in card
    for part, half in model.about["data"]["halfwidth"].items():
        assert not part or (f"| {part} |" in card and f"±{half:.2f}" in card)
    assert not any(
        c.startswith(pretrain.DIFFERENT) for c in model.about["data"]["columns"]["audio"]
    )
    assert ("Limits" in card and "borrowed" in card) or name == "mosi-ta"


@pytest.mark.real
def test_the_card_s_scores_are_the_model_s():
    if not (data_root() / "mosi").is_dir():
        pytest.skip("no data")
    corpus = load("mosi")
    corpus = corpus.take(corpus.rows("test"))
    audio = corpus.sequences["audio"]
    kept = pretrain.audio_columns(corpus)
    assert len(kept) == 59 and not {"creak", "HMPDM_24", "HMPDD_0"} & set(kept)
    found = apply.verdict(apply.model_for(corpus), corpus)
    mae = score("mae", found["score"].to_numpy(), corpus.label)
    card = (apply.MODELS / "mosi-ta.md").read_text()
    assert f"| text+audio | {mae:.3f} [" in card
    inside = ((found["low"] <= corpus.label) & (corpus.label <= found["high"])).mean()
    assert 0.75 < inside < 0.87 and len(audio) == len(found)


# How they are made


def labelled(n: int = 60) -> Corpus:
    audio = Sequences(RNG.normal(size=(n, 74)), np.ones(n), COVAREP)
    label = np.linspace(-3, 3, n)
    text = tuple(f"it was {'good' if y > 0 else 'bad'} {i}" for i, y in enumerate(label))
    ids = tuple(map(str, range(n)))
    return Corpus("toy", "made", ids, ids, np.resize(SPLITS, n), label, text, {"audio": audio},
                  checksums={"toy.csv": "0123456789abcdef"})  # fmt: skip


def test_pretraining_writes_a_model_that_can_be_applied(tmp_path, monkeypatch):
    tiny = train.Settings("daf", {"width": 4, "scorer_width": 2}, batch=10, epochs=3)
    monkeypatch.setattr(pretrain.tune, "settings", lambda *_: tiny)
    corpus = labelled()
    path = pretrain.pretrain(corpus, tmp_path / "toy.safetensors", pretrain.borrow_faces(corpus))
    model = saved.load(path)
    assert model.about["data"]["borrowed"] == ["vision"]
    assert set(model.about["data"]["halfwidth"]) == {"", "text", "audio", "text+audio"}
    assert "| text+audio | " in path.with_suffix(".md").read_text()
    assert np.isfinite(apply.verdict(model, recordings())["score"]).all()


def test_own_csd_files_make_a_model_with_real_faces(tmp_path, monkeypatch):
    """What `python -m mmlib.daf.pretrain --dataset mosei` does with CMU's 35 nameless columns."""
    tiny = train.Settings("daf", {"width": 4, "scorer_width": 2}, batch=10, epochs=3)
    monkeypatch.setattr(pretrain.tune, "settings", lambda *_: tiny)
    corpus = replace(labelled(), name="mosei")

    def given(d: int) -> Corpus:
        faces = Sequences(RNG.normal(size=(60, d)), np.ones(60), numbered("vision", d))
        return replace(corpus, sequences={**corpus.sequences, "vision": faces})

    monkeypatch.setattr(pretrain, "load", lambda _: given(35))
    pretrain.main(["--dataset", "mosei", "--out", str(tmp_path)])
    model = saved.load(tmp_path / "mosei.safetensors")
    assert apply.borrowed(model) == () and "text+audio+vision" in model.about["data"]["halfwidth"]
    assert model.about["data"]["columns"]["vision"] == list(FACET)
    card = (tmp_path / "mosei.md").read_text()
    assert "| text+audio+vision | " in card and "borrowed" not in card and "film" not in card
    assert apply.verdict(model, recordings())["weight_vision"][:2].gt(0).all()
    for other in (given(47), replace(corpus, sequences={})):  # another set; text alone
        monkeypatch.setattr(pretrain, "load", lambda _, other=other: other)
        with pytest.raises(SystemExit, match="mosei lacks FACET's 35 columns; take CMU's"):
            pretrain.main(["--dataset", "mosei", "--out", str(tmp_path)])
    deaf = replace(corpus, sequences={"vision": given(35).sequences["vision"]})
    monkeypatch.setattr(pretrain, "load", lambda _: deaf)
    with pytest.raises(SystemExit, match="mosei lacks audio; take CMU's"):
        pretrain.main(["--dataset", "mosei", "--out", str(tmp_path)])


def test_borrowed_faces_belong_to_about_the_label():
    corpus = labelled(300)
    lent = pretrain.borrow_faces(corpus)
    joy = np.array(
        [lent[i][0, FACET.index("Joy")] if lent.lengths[i] else np.nan for i in range(300)]
    )
    assert 0.6 < lent.lengths.mean() < 0.8 and lent.columns == FACET
    happy, sad = corpus.label > 1.5, corpus.label < -1.5
    assert np.nanmean(joy[happy]) > np.nanmean(joy[sad]) + 0.5


def test_the_interval_holds_its_share_of_the_validation_errors():
    class Constant:
        def predict(self, data):
            return type("P", (), {"score": np.zeros((1, len(data)))})

    from mmlib.daf.features import build

    corpus = replace(labelled(), text=None)
    data = build(corpus)
    half = pretrain.halfwidths(Constant(), data, ["audio"])
    errors = np.sort(np.abs(corpus.label[corpus.rows("valid")]))
    assert half["audio"] == pytest.approx(errors[16], abs=1e-3)  # the 17th of 20: ceil(21 * .8)


# The browser


def drawn(i: int):
    figure, ax = plt.subplots()
    ax.set_title(f"utterance {i}")
    return figure


def test_nobody_watching_gets_figures(monkeypatch):
    shown = []
    monkeypatch.setattr(stepper, "display", shown.append)
    stepper.browse(["a", "b", "c"], drawn, lambda i: np.zeros(9), 16000, still=[2, 0])
    assert [figure.axes[0].get_title() for figure in shown] == ["utterance 2", "utterance 0"]


def test_somebody_watching_steps_through(monkeypatch):
    shown, heard = [], []
    monkeypatch.setattr(stepper, "display", shown.append)
    monkeypatch.setattr(stepper, "is_watched", lambda: True)
    stepper.browse(["a", "b", "c"], drawn, lambda i: heard.append(i) or np.zeros(9), 16000)
    (box,) = [one for one in shown if isinstance(one, ipywidgets.VBox)]
    back, choice, on = box.children[0].children
    on.click()
    on.click()
    assert choice.index == 2 and heard == [0, 1, 2]
    on.click()
    back.click()
    assert heard == [0, 1, 2, 0, 2]


def test_a_review_is_stepped_through_without_sound(monkeypatch):
    """Its words keep their order, and each bar is the number that was given."""
    heads = {"coarse": {"negative": 0.2, "positive": 0.8}, "fine": {"1": 0.3, "5": 0.7}}
    heads["intensity"] = {"": 0.6}
    shown = []
    monkeypatch.setattr(stepper, "display", shown.append)

    def draw(i: int):
        return cards.review(["clean", "room"], np.array([0.5, -0.1 * i]), heads)

    stepper.browse(["a", "b"], draw, still=[1])
    (figure,) = shown
    axes = {ax.get_title(): ax for ax in figure.axes}
    assert [text.get_text() for text in figure.axes[0].texts] == ["clean", "room"]
    for task, bars in heads.items():
        assert [bar.get_height() for bar in axes[task].patches] == list(bars.values())
    monkeypatch.setattr(stepper, "is_watched", lambda: True)
    stepper.browse(["a", "b"], draw)
    (box,) = [one for one in shown if isinstance(one, ipywidgets.VBox)]
    box.children[0].children[2].click()
    assert not [one for one in shown if isinstance(one, Audio)]
