import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModel,
    AutoTokenizer,
    BartConfig,
    BartModel,
    BertConfig,
    BertModel,
    DebertaV2Config,
    DebertaV2Model,
    FunnelBaseModel,
    FunnelConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

import mmlib
from mmlib import files
from mmlib.text import encoder, encoding
from mmlib.text.attention import GROUPED
from mmlib.text.encoding import encode
from mmlib.text.loaded import Encoder, ready

MARKS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]"}
TERMS = ["the", "a", "film", "actor", "plot", "was", "is", "not", "very", "good", "bad"]
WORDS = [*MARKS.values(), *TERMS, "dull", "fine"]
TEXTS = [
    "good",
    "the film was not very good",
    "the plot is dull",
    "bad",
    "a fine actor " * 7,
    "the film was bad",
    "the plot was fine the actor was very very dull",
]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 32, "vocab_size": len(WORDS), "max_position_embeddings": 160}


def save_tiny(folder, model):
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    marks = {f"{name}_token": mark for name, mark in MARKS.items()}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **marks).save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def tiny(tmp_path):
    torch.manual_seed(0)
    return save_tiny(tmp_path / "hub" / "org" / "tiny", BertModel(BertConfig(**SIZES)))


@pytest.fixture
def minilm():
    pytest.importorskip(encoder.MINILM_PACKAGE, reason="extra 'offline' is not installed")
    return encoder.locate("minilm")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("MMLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(encoding, "CPU_TOKENS", 30)  # several batches for a handful of texts


@pytest.fixture
def forwarded(monkeypatch):
    """Texts that went through the encoder, as batch sizes."""
    sizes, real = [], encoding._pooled
    monkeypatch.setattr(
        encoding, "_pooled", lambda ids, *rest: sizes.append(len(ids)) or real(ids, *rest)
    )
    return sizes


def one_by_one(folder, texts, layers, pooling, max_length=60):
    """The definition: plain transformers, one text at a time, no padding."""
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    model = AutoModel.from_pretrained(
        folder, attn_implementation="eager", trust_remote_code=False
    ).eval()
    rows = []
    for one in texts:
        inputs = tokenizer(one, truncation=True, max_length=max_length, padding=False)
        inputs = {name: torch.tensor([ids]) for name, ids in inputs.items()}
        with torch.no_grad():
            states = model(**inputs, output_hidden_states=True).hidden_states
        pooled = [h[0].mean(0) if pooling == "mean" else h[0, 0] for h in states]
        rows.append(torch.stack(pooled) if layers == "all" else pooled[-1])
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("layers", ["last", "all"])
def test_equals_plain_transformers(tiny, layers, pooling):
    features = encode(TEXTS, tiny, layers=layers, pooling=pooling, max_length=60)
    expected = one_by_one(tiny, TEXTS, layers, pooling)
    assert features.dtype == np.float32
    assert features.shape == ((7, 3, 16) if layers == "all" else (7, 16))
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_minilm_equals_plain_transformers_and_bf16_is_near(minilm):
    features = encode(TEXTS, cache=False)
    np.testing.assert_allclose(features, one_by_one(minilm, TEXTS, "last", "mean"), atol=1e-5)
    short = encode(TEXTS, dtype="bfloat16", cache=False)
    cosine = (features * short).sum(1) / np.linalg.norm(features, axis=1)
    cosine /= np.linalg.norm(short, axis=1)
    assert short.dtype == np.float32 and not np.array_equal(short, features)
    assert cosine.min() > 0.9995


def test_an_encoder_is_not_judged_by_how_bfloat16_rounds(tiny, monkeypatch):
    states = Encoder.states

    def rounded(self, tokens, mask, every=True):  # by the batch, as some processors do
        noise = 0.5 * len(tokens) * (self.model.dtype == torch.bfloat16)
        return tuple(state + noise for state in states(self, tokens, mask, every))

    monkeypatch.setattr(Encoder, "states", rounded)
    encoder = ready(tiny, "bfloat16", "sdpa", torch.device("cpu"))
    plain = ready(tiny, "float32", "sdpa", torch.device("cpu"))
    assert encoder.model.dtype == torch.bfloat16 and not encoder.reads_padding
    names = {e.model.config._attn_implementation for e in (encoder, plain)}
    assert names == {GROUPED} and not encoder.model.training


def test_order_neighbours_and_duplicates_do_not_matter(tiny, forwarded):
    together, report = encode(TEXTS * 2, tiny, report=True)
    assert sum(forwarded) == report.distinct == len(TEXTS) < report.texts
    assert len(forwarded) > 1
    np.testing.assert_array_equal(together[:7], together[7:])
    back = encode(TEXTS[::-1], tiny, cache=False)[::-1]
    alone = np.concatenate([encode([one], tiny, cache=False) for one in TEXTS])
    np.testing.assert_array_equal(back, together[:7])
    np.testing.assert_array_equal(alone, together[:7])


PRODUCTS = """
import mmlib, torch
torch.manual_seed(0)
for width in (384, 3072):
    x, w = torch.randn(400, width), torch.randn(384, width)
    for rows in (*range(1, 70), 192, 384):
        assert torch.equal(x[:rows] @ w.T, (x @ w.T)[:rows]), f"{rows} rows of {width}"
"""


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_row_of_a_product_depends_on_no_other_row(threads, monkeypatch):
    """Where MKL uses AVX2, which can be tried on any processor of Intel's that has it."""
    monkeypatch.setenv("MKL_ENABLE_INSTRUCTIONS", "AVX2")
    if not mmlib._is_intel_with_avx2_only():
        pytest.skip("MKL's strict mode is for Intel's processors")
    as_user = {k: v for k, v in os.environ.items() if k != "MKL_CBWR"}
    limits = {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "OMP_NUM_THREADS": threads}
    command = [sys.executable, "-c", PRODUCTS]
    subprocess.run(command, env=as_user | limits, check=True)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_same_bits_however_a_batch_is_padded(minilm, attention, monkeypatch):
    monkeypatch.setattr(encoding, "CPU_TOKENS", 4096)
    frozen = {"layers": "all", "attention": attention, "cache": False}
    texts = [" ".join((TERMS * 5)[i : 2 * i + 1]) for i in range(27)]  # 1 to 27 words
    together = encode(texts, minilm, **frozen)
    order = np.random.default_rng(0).permutation(len(texts))
    for size in (1, 7):
        parts = [encode([texts[i] for i in part], minilm, **frozen)
                 for part in np.split(order, range(size, len(order), size))]  # fmt: skip
        np.testing.assert_array_equal(np.concatenate(parts)[np.argsort(order)], together)


def test_encoder_without_sdpa(tmp_path):
    config = DebertaV2Config(
        **SIZES, relative_attention=True, pos_att_type=["c2p", "p2c"], position_buckets=8
    )
    folder = save_tiny(tmp_path / "deberta", DebertaV2Model(config))
    expected = one_by_one(folder, TEXTS, "all", "mean")
    np.testing.assert_allclose(encode(TEXTS, folder, layers="all"), expected, atol=1e-5)


def test_as_many_tokens_as_positions_and_no_whole_groups(tmp_path):
    config = DebertaV2Config(**{**SIZES, "max_position_embeddings": 150}, relative_attention=True)
    folder = save_tiny(tmp_path / "deberta", DebertaV2Model(config))
    expected = one_by_one(folder, ["good " * 148], "last", "mean", max_length=150)
    features = encode(["good " * 148], folder, max_length=150)
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_weights_saved_by_torch(tiny):
    expected = encode(TEXTS, tiny, cache=False)
    torch.save(load_file(tiny / "model.safetensors"), tiny / "pytorch_model.bin")
    (tiny / "model.safetensors").unlink()
    np.testing.assert_array_equal(encode(TEXTS, tiny, cache=False), expected)


def test_threads_are_given_back(tiny):
    before = torch.get_num_threads()
    encode(TEXTS, tiny)
    assert torch.get_num_threads() == before


def test_four_threads_at_once_get_what_one_gets(tiny, tmp_path, monkeypatch, capsys):
    """Long texts are cut, which is a setting of the one tokenizer."""
    rng = np.random.default_rng(0)
    lists = [[" ".join(rng.choice(TERMS, n)) for n in rng.integers(1, 60, 40)] for _ in range(3)]
    lists.append(lists[0][::-1])  # the same items
    options = {"max_length": 30, "layers": "all"}
    alone = [encode(texts, tiny, cache=False, **options) for texts in lists]
    encoding._load.cache_clear()
    threads, loads, ready = torch.get_num_threads(), [], encoding.ready
    monkeypatch.setattr(encoding, "ready", lambda *a: loads.append(a) or ready(*a))
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda texts: encode(texts, tiny, **options), lists))
    assert torch.get_num_threads() == threads and len(loads) == 1
    assert capsys.readouterr().err == ""  # no bar of transformers' own
    for features, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(features, expected)
    assert not list(tmp_path.rglob("*.part"))
    monkeypatch.setattr(encoding, "_load", lambda *_: pytest.fail("not all was kept"))
    for texts, expected in zip(lists, alone, strict=True):
        np.testing.assert_array_equal(encode(texts, tiny, **options), expected)


# Truncation


def test_truncations_are_cut_counted_and_logged(tiny, caplog):
    long = TEXTS[4]  # 21 words and two marks
    features, report = encode([*TEXTS, long], tiny, max_length=23, report=True)
    assert report.truncated == 0 and not caplog.records
    features, report = encode([*TEXTS, long], tiny, max_length=22, report=True)
    assert report.truncated == 2 and "2 of 8 texts cut at 22 tokens" in caplog.text
    expected = one_by_one(tiny, [long], "last", "mean", max_length=22)
    np.testing.assert_allclose(features[4:5], expected, atol=1e-5)
    _, again = encode(TEXTS, tiny, max_length=22, report=True)
    assert again.truncated == 1 and again.cached == 7


# The cache


def test_cache_hit_loads_nothing(tiny, monkeypatch):
    first = encode(TEXTS, tiny)
    monkeypatch.setattr(encoding, "_load", lambda *_: pytest.fail("the encoder was loaded"))
    again, report = encode(TEXTS[::-1], tiny, report=True)
    np.testing.assert_array_equal(again[::-1], first)
    assert report.cached == 7


def change_weights(folder):
    tensors = load_file(folder / "model.safetensors")
    save_file({name: value * 1.1 for name, value in tensors.items()}, folder / "model.safetensors")


def change_tokenizer(folder):
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace('"film"', '"movie"'))


CHANGES = {
    "layers": {"layers": "all"},
    "pooling": {"pooling": "cls"},
    "max_length": {"max_length": 60},
    "dtype": {"dtype": "bfloat16"},
    "attention": {"attention": "eager"},
    "weights": change_weights,
    "tokenizer": change_tokenizer,
    "version": lambda _: None,
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_result_depends_on_is_in_its_key(tiny, monkeypatch, name):
    before = encode(TEXTS, tiny, max_length=50)
    change = CHANGES[name] if isinstance(CHANGES[name], dict) else {}
    if name == "version":
        monkeypatch.setattr(encoder, "version", lambda _: "99.0")
    elif not change:
        CHANGES[name](tiny)
    after, report = encode(TEXTS, tiny, **{"max_length": 50, **change}, report=True)
    assert report.cached == 0
    if name in ("weights", "tokenizer", "pooling"):
        assert not np.allclose(after, before)


def test_interrupted_run_goes_on_where_it_stopped(tiny, forwarded, monkeypatch):
    counted, left = encoding._pooled, [2]

    def interrupt(*args):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return counted(*args)

    monkeypatch.setattr(encoding, "_pooled", interrupt)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # of two workers one may be in a batch
    with pytest.raises(KeyboardInterrupt):
        encode(TEXTS, tiny)
    done = sum(forwarded)
    monkeypatch.setattr(encoding, "_pooled", counted)
    features, report = encode(TEXTS, tiny, report=True)
    assert 0 < done == report.cached < 7 and sum(forwarded) == 7
    np.testing.assert_allclose(features, encode(TEXTS, tiny, cache=False), atol=1e-5)


def test_damaged_cache_is_computed_again(tiny, tmp_path, caplog):
    first = encode(TEXTS, tiny)
    for shard in tmp_path.rglob("features/*/*.safetensors"):
        shard.write_bytes(shard.read_bytes()[:-4] + b"\0\0\0\0")
    again, report = encode(TEXTS, tiny, report=True)
    assert report.cached == 0 and "damaged" in caplog.text
    np.testing.assert_allclose(again, first, atol=1e-5)


def test_result_without_a_place_to_keep_it(tiny, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MMLIB_CACHE", str(tmp_path / "file" / "cache"))
    assert encode(TEXTS, tiny).shape == (7, 16)
    assert len(caplog.records) == 1 and "cannot write" in caplog.text


# Progress


@pytest.mark.parametrize("progress", [None, True])
def test_bar_only_where_a_person_watches(tiny, capsys, progress):
    encode(TEXTS, tiny, progress=progress)
    shown = capsys.readouterr().err
    assert ("token/s" in shown) if progress else shown == ""


# Bad input


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        (["good", "  "], {}, "text 1 is empty"),
        (["good", None], {}, "text 1 is NoneType"),
        ([], {}, "texts is empty"),
        ("good", {}, "pass a list"),
        (["good"], {"layers": "first"}, "layers 'first'.*last, all"),
        (["good"], {"pooling": "max"}, "pooling 'max'.*mean, cls"),
        (["good"], {"dtype": "int4"}, "dtype 'int4'.*float32, bfloat16"),
        (["good"], {"attention": "flash"}, "attention 'flash'"),
        (["good"], {"max_length": 2}, "max_length=2"),
        (["good"], {"max_length": 161}, "max_length=161 .* 160"),
    ],
)
def test_bad_input_gets_one_line(tiny, texts, options, message):
    with pytest.raises(ValueError, match=message) as error:
        encode(texts, tiny, **options)
    assert "\n" not in str(error.value)


def lose_a_tensor(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def cut_short(folder):
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-99])


def widen(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 32}))


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lose_a_tensor, "no weights for encoder.layer.1.output.dense.weight"),
        (lambda folder: (folder / "model.safetensors").unlink(), "lacks"),
        (lambda folder: (folder / "config.json").unlink(), "lacks"),
        (cut_short, r"cannot be loaded \(.*; save or fetch it again"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be loaded"),
        (widen, r"cannot be loaded \(.*; save or fetch it again"),
    ],
)
def test_incomplete_encoder_is_refused(tiny, break_it, message):
    break_it(tiny)
    with pytest.raises(ValueError, match=message) as error:
        encode(TEXTS, tiny)
    assert "\n" not in str(error.value)


def test_positions_that_roberta_cannot_use_do_not_count(tmp_path):
    folder = save_tiny(tmp_path / "roberta", RobertaModel(RobertaConfig(**SIZES)))
    assert encode(["good " * 300], folder, max_length=158).shape == (1, 16)
    with pytest.raises(ValueError, match=r"max_length=159 exceeds .* use 158"):
        encode(TEXTS, folder, max_length=159)


def test_encoder_that_merges_tokens_is_refused(tmp_path):
    sizes = {"d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 32, "block_sizes": [1, 1]}
    funnel = FunnelBaseModel(FunnelConfig(vocab_size=len(WORDS), **sizes))
    folder = save_tiny(tmp_path / "funnel", funnel)
    with pytest.raises(ValueError, match="merges tokens between its layers"):
        encode(TEXTS, folder, layers="all")


def test_a_sentencepiece_model_without_its_package(tiny, monkeypatch):
    for path in tiny.glob("*token*"):
        path.unlink()
    (tiny / "spm.model").write_bytes(b"")
    monkeypatch.setattr(encoder, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"needs sentencepiece: pip install -e '\.\[sentence"):
        encode(TEXTS, tiny)


def test_encoder_with_a_decoder_is_refused(tmp_path):
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": len(WORDS)}
    folder = save_tiny(tmp_path / "bart", BartModel(BartConfig(**sizes)))
    with pytest.raises(ValueError, match="has a decoder"):
        encode(TEXTS, folder)


def test_minilm_with_other_weights_is_refused(tiny, monkeypatch):
    monkeypatch.setattr(encoding, "locate", lambda _: tiny)
    with pytest.raises(ValueError, match="is not minilm"):
        encode(TEXTS)


@pytest.mark.parametrize("name", [1, None, "", " ", [1]])
def test_an_encoder_that_is_no_name(name):
    with pytest.raises(ValueError, match=r"encoder .* is no name; pass 'minilm', a folder or"):
        encode(TEXTS, name)


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 3000, "a\0b", "a\nb"])
def test_a_name_that_no_folder_can_have(name):
    with pytest.raises(ValueError, match="is neither a folder nor downloaded") as error:
        encode(TEXTS, name)
    assert "\n" not in str(error.value)


# The hub


def test_minilm_without_its_package_comes_from_the_hub(tiny, monkeypatch):
    monkeypatch.setattr(encoder, "find_spec", lambda _: None)
    monkeypatch.setattr(encoder, "_from_hub", {encoder.MINILM: tiny}.__getitem__)
    assert encoder.locate("minilm") == tiny


FROM_HUB = """
import sys, numpy as np
from mmlib.text import encode
np.save(sys.argv[1], encode(["the film was good", "bad"], sys.argv[2]))
"""


def encode_elsewhere(tmp_path, encoder, **environment):
    """A process of its own, as huggingface_hub reads its environment at import."""
    places = {"HF_HOME": str(tmp_path / "hf"), "MMLIB_CACHE": str(tmp_path / "elsewhere")}
    environment = {**os.environ, **places, **environment}
    out = tmp_path / "out.npy"
    command = [sys.executable, "-c", FROM_HUB, str(out), encoder]
    return subprocess.run(command, env=environment, capture_output=True, text=True), out


@pytest.fixture
def hub(tiny):
    """Address of a hub on this machine that has org/tiny."""
    script = Path(__file__).with_name("hub.py")
    command = [sys.executable, str(script), str(tiny.parents[1])]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    yield server.stdout.readline().strip()
    server.kill()
    server.communicate()


def test_hub_id_then_the_same_without_a_network(tiny, hub, tmp_path):
    expected = encode(["the film was good", "bad"], tiny)
    for environment in ({"HF_ENDPOINT": hub, "HF_HUB_OFFLINE": "0"}, {"HF_HUB_OFFLINE": "1"}):
        run, out = encode_elsewhere(tmp_path, "org/tiny", **environment)
        assert run.returncode == 0, run.stderr
        np.testing.assert_allclose(np.load(out), expected, atol=1e-5)
        out.unlink()


def test_no_network_for_a_hub_id_names_the_offline_choices(tmp_path):
    dead = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
    run, out = encode_elsewhere(tmp_path, "org/tiny", **dead)
    last = run.stderr.strip().splitlines()[-1]
    assert run.returncode == 1 and not out.exists()
    assert last.startswith("ValueError: encoder 'org/tiny'") and "encoder='minilm'" in last


# Code of others


def test_code_that_a_folder_brings_along_is_never_run(tiny, tmp_path, monkeypatch):
    config = json.loads((tiny / "config.json").read_text())
    own = {"auto_map": {"AutoModel": "own.Own", "AutoConfig": "own.OwnConfig"}}
    (tiny / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on the terminal"))
    for kind in ("bert", "own"):
        (tiny / "config.json").write_text(json.dumps({**config, **own, "model_type": kind}))
        with pytest.raises(ValueError, match=r"config\.json names code of its own") as error:
            encode(TEXTS, tiny)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


# Where folders lie


def test_a_relative_folder_is_found_from_the_notebooks_too(tiny, tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(encoder, "ROOT", tmp_path)
    for place in (tmp_path, tmp_path / "notebooks"):
        monkeypatch.chdir(place)
        assert encoder.locate("hub/org/tiny") == tiny


def test_without_a_home_the_cache_lies_with_temporary_files(tmp_path, monkeypatch):
    monkeypatch.delenv("MMLIB_CACHE")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # no HOME, nobody in passwd
    root = files.cache_root()
    assert root.name.startswith("mmlib-") and root.is_absolute()
    with pytest.raises(ValueError, match="neither a folder nor downloaded"):
        encoder.locate("~/model")
    monkeypatch.setenv("MMLIB_CACHE", str(tmp_path))
    assert files.cache_root() == tmp_path
