"""A kept model: what it reads, what it refuses, and that its card tells the truth."""

import json
import re
import runpy
import sys

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from mmlib.data import load
from mmlib.dyfulm import kept
from mmlib.files import ROOT, sha256
from mmlib.finetune import keep
from mmlib.finetune.config import Config
from mmlib.finetune.run import finetune
from mmlib.scores import calibration
from mmlib.text import made as made_module
from mmlib.text import vocabulary
from mmlib.text.encoder import load as load_encoder

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "room", "was", "good", "bad", "##ly"]
ENCODER = {
    "vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 16, "pad_token_id": 0,
}  # fmt: skip
FUSION = {"width": 8, "layer_fusion": "bilstm", "guidance": True, "scope": "utterance"}
CARD = {
    "encoder": ENCODER, "fusion": FUSION, "max_length": 8, "head": 2,
    "temperature": {"coarse": 2.0, "fine": 0.5},
}  # fmt: skip
TEXTS = ["the room was good", "bad", "", "the room was badly bad , the room was good . the room"]
is_there = pytest.mark.skipif(
    not (kept.WEIGHTS / kept.CARD).exists(), reason="no weights are kept here"
)


def tokenizer() -> Tokenizer:
    made = Tokenizer(models.WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.add_special_tokens(WORDS[:5])
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    student = kept.Student(ENCODER, FUSION)
    student.fusion.reset([np.random.default_rng(0)])
    return kept.save(tmp_path_factory.mktemp("kept"), student, tokenizer(), CARD)


@pytest.fixture
def copy(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_shapes_and_ranges(folder):
    reading = kept.load(folder).read(TEXTS)
    assert reading.coarse.shape == (4, 3) and reading.fine.shape == (4, 5)
    for p in (reading.coarse, reading.fine, reading.layers):
        np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)
    assert ((reading.intensity >= 0) & (reading.intensity <= 1)).all()
    assert reading.layers.shape == (4, 3)


def test_what_was_read_is_counted(folder):
    reading = kept.load(folder).read(TEXTS)
    assert reading.tokens.tolist() == [6, 3, 2, 8]
    assert reading.cut.tolist() == [False, False, False, True]
    assert reading.unknown.tolist() == [0, 0, 1, pytest.approx(1 / 11)]  # "badly" is two tokens


def test_a_cut_text_keeps_its_beginning_and_its_end(folder):
    model = kept.load(folder)
    ids, _, cut = model._tokens(model.tokenizer.encode_batch([TEXTS[3]]))
    read = [WORDS[i] for i in ids[0]]
    assert read[:2] == ["[CLS]", "the"] and read[-3:] == ["the", "room", "[SEP]"] and cut[0]


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_a_reading_does_not_depend_on_its_batch(folder, batch):
    model = kept.load(folder)
    texts = [" ".join(WORDS[5 + (i * k) % 5] for k in range(i % 5 + 1)) for i in range(12)]
    together = model.read(texts)
    for one, other in zip(together, model.read(texts, batch), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_temperature_cools_and_heats(folder):
    model = kept.load(folder)
    plain = kept.Kept(model.student, model.tokenizer, {**model.card,
                      "temperature": {"coarse": 1.0, "fine": 1.0}}).read(TEXTS)  # fmt: skip
    reading = model.read(TEXTS)
    for name in ("coarse", "fine"):
        scaled = calibration.scaled(getattr(plain, name), CARD["temperature"][name])
        np.testing.assert_allclose(getattr(reading, name), scaled, atol=1e-5)


@pytest.mark.parametrize("precision, apart", [("float32", 0), ("bfloat16", 0.05), ("int8", 0.05)])
def test_other_precisions_say_nearly_the_same(folder, precision, apart):
    model = kept.load(folder)
    reading, other = model.read(TEXTS), model.in_precision(precision).read(TEXTS)
    gap = max(abs(x - y).max() for x, y in zip(reading[:3], other[:3], strict=True))
    assert gap <= apart and (gap > 0) == (precision != "float32")
    assert {p.dtype for p in model.student.parameters()} == {torch.float32}  # that one is a copy
    linear = [m for m in model.in_precision("int8").student.modules() if type(m) is torch.nn.Linear]
    assert not linear


def test_what_was_rounded_is_not_taken_for_float32(folder):
    rounded = kept.load(folder).in_precision("bfloat16")
    with pytest.raises(ValueError, match="rounded to bfloat16; take the one it is from"):
        rounded.in_precision("float32")


def test_layer_weights_a_token_are_those_of_its_words(tmp_path):
    torch.manual_seed(0)
    student = kept.Student(ENCODER, FUSION | {"scope": "token"})
    student.fusion.reset([np.random.default_rng(0)])
    model = kept.load(kept.save(tmp_path, student, tokenizer(), CARD))
    np.testing.assert_allclose(model.read(TEXTS).layers, model.read(TEXTS, 1).layers, atol=1e-6)


def test_another_precision_is_refused(folder):
    with pytest.raises(ValueError, match="unknown precision 'int4'; choose one of float32"):
        kept.load(folder).in_precision("int4")


def test_no_texts_give_no_rows(folder):
    assert [len(values) for values in kept.load(folder).read([])] == [0] * 7


@pytest.mark.parametrize("texts", ["a single string", ["good", None], ["good", 1.5]])
def test_what_is_no_list_of_strings_is_refused(folder, texts):
    with pytest.raises(ValueError, match="list of strings"):
        kept.load(folder).read(texts)


def refused(folder) -> str:
    with pytest.raises(ValueError) as error:
        kept.load(folder)
    message = str(error.value)
    assert "\n" not in message and kept.REMEDY in message
    return message


@pytest.mark.parametrize("name", [kept.NUMBERS, kept.WORDS, kept.CARD])
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    assert name in refused(copy)


@pytest.mark.parametrize("name", [kept.NUMBERS, kept.WORDS])
def test_a_changed_byte_is_noticed(copy, name):
    blob = bytearray((copy / name).read_bytes())
    blob[len(blob) // 2] ^= 1
    (copy / name).write_bytes(blob)
    assert "SHA-256" in refused(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"sha256": {}}'])
def test_a_damaged_card_is_refused(copy, text):
    (copy / kept.CARD).write_text(text)
    refused(copy)


@pytest.mark.parametrize("change", [
    {"temperature": {"coarse": 0, "fine": 1}}, {"temperature": {"coarse": 1, "fine": -1}},
    {"temperature": {"coarse": 1}}, {"temperature": {"coarse": "0.9", "fine": 1}},
    {"temperature": {"coarse": float("nan"), "fine": 1}},
    {"max_length": 4}, {"max_length": "256"}, {"max_length": 100_000}, {"head": 0},
])  # fmt: skip
def test_a_card_of_impossible_values_is_refused(copy, change):
    card = json.loads((copy / kept.CARD).read_text()) | {"head": 8}
    (copy / kept.CARD).write_text(json.dumps(card | change))
    refused(copy)


def test_another_models_weights_are_refused(copy):
    card = json.loads((copy / kept.CARD).read_text())
    card["encoder"]["num_hidden_layers"] = 3
    (copy / kept.CARD).write_text(json.dumps(card))
    refused(copy)


def test_vocabulary_keeps_what_many_texts_of_many_groups_have():
    words = {word: i for i, word in enumerate(["[UNK]", "common", "rare", "local", "a", "##a"])}
    texts = [[1, 2] if i < 19 else [1, 3] for i in range(40)]  # "rare" in 19 texts
    groups = [str(i % 8) if i < 19 else str(i % 4) for i in range(40)]  # "local" in 4 groups
    kept_words = vocabulary.kept_tokens(words, ["[UNK]"], texts, groups)
    assert kept_words == ["[UNK]", "common", "a", "##a"]
    more = [*texts, [2], [3]], [*groups, "0", "7"]  # the twentieth text, the fifth group
    assert vocabulary.kept_tokens(words, ["[UNK]"], *more) == list(words)


def test_a_pruned_tokenizer_reads_what_is_left_alike():
    before = tokenizer()
    left = [word for word in WORDS if word != "room"]
    after = Tokenizer.from_str(vocabulary.pruned_tokenizer(before.to_str(), left))
    assert after.encode("the good").tokens == before.encode("the good").tokens
    ids = after.encode("the room was badly").ids
    assert [left[i] for i in ids] == ["[CLS]", "the", "[UNK]", "was", "bad", "##ly", "[SEP]"]


def test_a_tokenizer_that_puts_its_marks_by_old_numbers_is_refused():
    before = tokenizer()
    before.post_processor = processors.BertProcessing(("[SEP]", 1), ("[CLS]", 0))
    with pytest.raises(ValueError, match="only a tokenizer with a TemplateProcessing"):
        vocabulary.pruned_tokenizer(before.to_str(), WORDS)


def test_calibration_finds_the_temperature_that_was_taken_away():
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1, 1], 20_000)
    known = np.array([rng.choice(3, p=row) for row in p])
    sharp = calibration.scaled(p, 0.5)
    assert calibration.temperature(sharp, known) == pytest.approx(2, rel=0.05)
    texts = np.arange(len(p)) // 10
    right, wrong = (calibration.ece(x, known, texts) for x in (p, sharp))
    assert right.scores[0] < 0.02 < wrong.scores[0]
    assert wrong.minus(right).ci_low > 0
    assert calibration.reliability(p, known)["share"].sum() == pytest.approx(1)


def test_calibration_error_is_the_weighted_gap_of_its_bins_also_without_a_group():
    rng = np.random.default_rng(1)
    p, known, groups = rng.dirichlet([1] * 5, 300), rng.integers(0, 5, 300), np.arange(300) % 7
    found = calibration.ece(p, known, groups)
    assert found.counts.tolist() == [43] * 6 + [42]
    for one, rows in [(found.scores[0], groups >= 0), (found.without[0, 3], groups != 3)]:
        table = calibration.reliability(p[rows], known[rows])
        gaps = (table["accuracy"] - table["confidence"]).abs()
        assert one == pytest.approx((table["share"] * gaps).sum())
    with pytest.raises(ValueError, match="1 group: an interval needs at least 2"):
        calibration.ece(p, known, np.zeros(300))


def saved_bert(folder, words):
    """A BERT of two layers with random weights and those words, as a folder."""
    words = list(dict.fromkeys(words))
    made = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = tokenizer().normalizer, tokenizer().pre_tokenizer
    made.post_processor = tokenizer().post_processor
    torch.manual_seed(0)
    size = ENCODER | {"vocab_size": len(words), "max_position_embeddings": 300}
    transformers.BertModel(transformers.BertConfig(**size)).save_pretrained(folder)
    marks = {f"{name}_token": mark for name, mark in made_module.MARKS.items()}
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=made, **marks)
    fast.save_pretrained(folder)
    return folder


def test_a_run_that_is_kept_reads_as_it_was_trained(tmp_path):
    """Rounding to float16 apart: words that are pruned do not occur in the reviews compared."""
    corpus = load("synthetic_reviews").sample(300)
    common = sorted({w for text in corpus.text for w in re.findall(r"[a-z]+", text.lower())})
    letters = [f"{mark}{c}" for c in map(chr, range(97, 123)) for mark in ("", "##")]
    folder = saved_bert(tmp_path / "bert", [*WORDS[:5], *letters, *".,;:!?'-", *common, "zzyzx"])
    config = Config([f"{folder}:1"], "synthetic_reviews", max_length=128, precision="float32")
    run = finetune(config, tmp_path / "run", corpus)
    model = keep.keep(run, tmp_path / "kept", corpus)
    digest = sha256(folder / "model.safetensors")
    assert model.card["source"] == {"name": config_name(folder, 1), "sha256": digest}
    assert keep.source(folder, None) == {"name": "bert", "sha256": digest}
    assert model.student.encoder.config.num_hidden_layers == 1
    left = set(model.tokenizer.get_vocab())
    assert "room" in left and "zzyzx" not in left
    with np.load(run / "valid.npz") as arrays:
        valid = corpus.take(corpus.rows("valid"))
        assert arrays["ids"].tolist() == list(valid.ids)
        words = [set(re.findall(r"[a-z]+", text.lower())) for text in valid.text]
        alike = [i for i, some in enumerate(words) if some <= left]
        assert len(alike) >= 1
        reading = model.read([valid.text[i] for i in alike])
        np.testing.assert_allclose(reading.intensity, arrays["intensity"][alike], atol=5e-3)
        scaled = calibration.scaled(arrays["p_fine"][alike], model.card["temperature"]["fine"])
        np.testing.assert_allclose(reading.fine, scaled, atol=2e-2)


def test_what_cannot_be_kept_is_named(tmp_path):
    corpus, folder = load("synthetic_reviews").sample(60), saved_bert(tmp_path / "bert", WORDS)
    size = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16, "vocab_size": len(WORDS)}
    distilled = transformers.DistilBertConfig(**size, max_position_embeddings=64)
    transformers.DistilBertModel(distilled).save_pretrained(folder)  # with a BERT's tokenizer
    config = Config([str(folder)], "synthetic_reviews", max_length=16)
    run = finetune(config, tmp_path / "run", corpus)
    with pytest.raises(ValueError, match="is a distilbert; a kept model has a BERT"):
        keep.keep(run, tmp_path / "kept", corpus)
    (run / "provenance.json").unlink()
    with pytest.raises(ValueError, match=r"provenance\.json is missing"):
        keep.keep(run, tmp_path / "kept", corpus)
    assert not (tmp_path / "kept").exists()


def test_a_folder_that_holds_no_kept_model_is_left_as_it_is(tmp_path, monkeypatch):
    encoder = saved_bert(tmp_path / "bert", WORDS)
    before = {path.name: path.read_bytes() for path in encoder.iterdir()}
    monkeypatch.setattr(sys, "argv", ["keep", str(tmp_path / "run"), str(encoder)])
    with pytest.raises(SystemExit, match=r"bert exists and is no kept model; name another folder"):
        keep.main()
    assert {path.name: path.read_bytes() for path in encoder.iterdir()} == before


def config_name(folder, layers):
    """How the folder of an encoder's first layers is called."""
    return made_module.named(f"{folder}:{layers}", []).name


def test_a_shortened_encoder_is_the_first_layers(tmp_path):
    folder = saved_bert(tmp_path / "bert", WORDS)
    ids = torch.tensor([[2, 5, 6, 7, 8, 3]])
    whole, _ = load_encoder(folder)
    short, _ = load_encoder(made_module.named(f"{folder}:1", []))
    with torch.no_grad():
        expected = whole(ids, output_hidden_states=True).hidden_states[1]
        torch.testing.assert_close(short(ids).last_hidden_state, expected)
    for layers in (0, 3):
        with pytest.raises(ValueError, match="1 to 2"):
            made_module.named(f"{folder}:{layers}", [])


# The weights of the project


@is_there
def test_the_kept_weights_are_small_and_those_of_their_card():
    paths = [path for path in kept.WEIGHTS.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in paths) < 25e6
    card = json.loads((kept.WEIGHTS / kept.CARD).read_text())
    for name in (kept.NUMBERS, kept.WORDS):
        assert card["sha256"][name] == sha256(kept.WEIGHTS / name)
    assert card["sha256"][kept.NUMBERS] in (kept.WEIGHTS / "README.md").read_text()


@is_there
def test_the_card_is_what_its_command_makes_of_the_stored_run():
    made = runpy.run_path(str(ROOT / "tests" / "benchmarks" / "card.py"))["text"]()
    assert (kept.WEIGHTS / "README.md").read_text() == made


@is_there
def test_the_kept_model_tells_praise_from_blame():
    praise = [
        "Wonderful stay. The staff were kind, the room spotless and the breakfast superb.",
        "We loved it and will certainly be back. Perfect location, very comfortable bed.",
        "One of the best hotels we have ever stayed in, beautiful and quiet.",
    ]
    blame = [
        "Terrible. The room was filthy, the staff were rude and nobody helped us.",
        "Worst hotel ever. Bed bugs, mould in the bathroom, and no refund. Avoid!",
        "Dirty sheets, a broken shower and noise all night. We left after one night.",
    ]
    reading = kept.load().read([*praise, *blame])
    assert reading.coarse.argmax(axis=1).tolist() == [2] * 3 + [0] * 3
    assert reading.intensity[:3].min() > 0.7 and reading.intensity[3:].max() < 0.3
    assert reading.unknown.max() < 0.2
    german = kept.load().read(["Das Zimmer war schmutzig und das Personal unfreundlich."])
    assert german.unknown[0] > 0.5
