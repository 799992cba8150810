"""Encoders of other kinds than BERT: what plain transformers computes, alone and in any batch."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers
from test_text import SIZES, TEXTS, one_by_one, save_tiny

from mmlib.files import ROOT
from mmlib.text import encoding
from mmlib.text.attention import grouped
from mmlib.text.encoding import encode

CASES = ROOT.parent / "shared" / "cases" / "encoders"
GROUPS = {**SIZES, "num_key_value_heads": 1}
WORDS = {"vocab_size": SIZES["vocab_size"]}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, **WORDS}
BERT = {**SIZES, "embedding_size": 16}
TINY = {
    "causal": ("BertModel", "BertConfig", {**SIZES, "is_decoder": True}),
    "gpt2": ("GPT2Model", "GPT2Config", {"n_embd": 16, "n_layer": 2, "n_head": 2, **WORDS}),
    "llama": ("LlamaModel", "LlamaConfig", SIZES),
    "grouped queries": ("Qwen2Model", "Qwen2Config", GROUPS),
    "a window": ("MistralModel", "MistralConfig", {**GROUPS, "sliding_window": 4}),
    "fnet": ("FNetModel", "FNetConfig", SIZES),
    "convbert": ("ConvBertModel", "ConvBertConfig", BERT),
    "t5": ("T5EncoderModel", "T5Config", T5),
}  # fmt: skip


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("MMLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(encoding, "CPU_TOKENS", 30)


def made(folder, kind):
    """A tiny model whose weights are large enough for padding and masks to show."""
    model, config, sizes = TINY[kind]
    known = transformers.AutoConfig.for_model(getattr(transformers, config).model_type)
    sizes = {name: value for name, value in sizes.items() if hasattr(known, name)}
    torch.manual_seed(0)
    model = getattr(transformers, model)(getattr(transformers, config)(**sizes, pad_token_id=0))
    for weight in model.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.15)
    return save_tiny(folder, model)


def plain(folder, texts):
    """One text at a time through the saved class, by plain matrix products: (n, l, d)."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    kind = getattr(transformers, config.architectures[0])
    model = kind.from_pretrained(
        folder, attn_implementation="eager", trust_remote_code=False
    ).eval()
    rows = []
    for text in texts:
        with torch.no_grad():
            tokens = torch.tensor([tokenizer(text)["input_ids"]])
            states = model(input_ids=tokens, output_hidden_states=True).hidden_states
        rows.append(torch.stack([state[0].mean(0) for state in states]))
    return torch.stack(rows).numpy()


def agree(folder, texts):
    options = {"layers": "all", "max_length": 60, "cache": False}
    expected = plain(folder, texts)
    np.testing.assert_allclose(encode(texts, folder, **options), expected, atol=1e-5)
    alone = np.concatenate([encode([text], folder, **options) for text in texts])
    np.testing.assert_allclose(alone, expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["T5ForConditionalGeneration", "T5Model", "MT5Model"])
def test_of_a_t5_with_its_decoder_the_encoder_is_taken(tmp_path, kind):
    torch.manual_seed(0)
    config = getattr(transformers, "MT5Config" if "MT5" in kind else "T5Config")
    model = getattr(transformers, kind)(config(**T5, pad_token_id=0, decoder_start_token_id=0))
    folder = save_tiny(tmp_path / "whole", model)
    half = getattr(transformers, config.__name__.replace("Config", "EncoderModel"))(model.config)
    half.load_state_dict(model.state_dict(), strict=False)
    expected = plain(save_tiny(tmp_path / "half", half), TEXTS)
    features = encode(TEXTS, folder, layers="all", max_length=60, cache=False)
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_lengths_that_an_encoder_cannot_take_are_refused_in_one_line(tmp_path, monkeypatch):
    folder = made(tmp_path / "model", "fnet")
    states = encoding.Encoder.states

    def fails(encoder, tokens, *rest):
        if tokens.shape[1] > 40:
            raise RuntimeError("shape '[-1, 8]' is invalid\nat 7")
        return states(encoder, tokens, *rest)

    monkeypatch.setattr(encoding.Encoder, "states", fails)
    with pytest.raises(ValueError, match=r"\A.*model cannot encode 1 of the texts .*\Z"):
        encode(["good " * 40], folder, max_length=60)


@pytest.mark.parametrize("kind", TINY)
def test_equal_to_plain_transformers_alone_and_in_a_batch(tmp_path, kind):
    agree(made(tmp_path / "model", kind), TEXTS)


def test_a_causal_model_has_the_same_bits_in_any_batch(tmp_path):
    folder = made(tmp_path / "model", "llama")
    together = encode(TEXTS, folder, cache=False)
    alone = np.concatenate([encode([text], folder, cache=False) for text in TEXTS])
    np.testing.assert_array_equal(alone, together)


def test_features_of_a_causal_model_that_were_stored_before_are_not_taken(tmp_path):
    for kind, tried in (("causal", True), ("gpt2", True)):
        _, report = encode(TEXTS, made(tmp_path / kind, kind), report=True)
        assert report.settings.get("tried") is tried
    _, report = encode(TEXTS, save_tiny(tmp_path / "bert", transformers.BertModel(
        transformers.BertConfig(**SIZES))), report=True)  # fmt: skip
    assert "tried" not in report.settings


@pytest.mark.parametrize(
    "argument", [{"position_bias": torch.randn(1, 2, 5, 5)}, {"cache": None, "softcap": None}]
)
def test_arguments_that_are_not_understood_go_to_transformers_own(argument):
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    module, rows = torch.nn.Module(), torch.randn(3, 1, 2, 5, 8)
    module.is_causal = False
    found, _ = grouped(module, *rows, None, scaling=0.3, **argument)
    expected, _ = sdpa_attention_forward(module, *rows, None, scaling=0.3, **argument)
    torch.testing.assert_close(found, expected)


def test_a_mask_of_numbers_is_added():
    module, rows = torch.nn.Module(), torch.randn(3, 1, 2, 5, 8)
    mask = torch.randn(1, 1, 5, 5)
    found, _ = grouped(module, *rows, mask, scaling=1.0)
    scores = rows[0] @ rows[1].mT + mask
    torch.testing.assert_close(found, (scores.softmax(-1) @ rows[2]).transpose(1, 2))


@pytest.mark.parametrize("has", [True, False])
def test_bfloat16_where_the_processor_has_it(tmp_path, monkeypatch, caplog, has):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    folder = made(tmp_path / "model", "causal")
    options = {"cache": False, "report": True, "device": "cpu"}
    _, report = encode(TEXTS, folder, dtype="auto", **options)
    assert report.settings["dtype"] == ("bfloat16" if has else "float32")
    assert not caplog.records
    encode(TEXTS, folder, dtype="bfloat16", **options)
    assert ("no instructions for bfloat16" in caplog.text) is not has
    assert encode(TEXTS, folder, **options)[1].settings["dtype"] == "float32"


@pytest.mark.skipif(not CASES.exists(), reason="no cases")
def test_checkpoints_of_many_architectures(tmp_path):
    texts = ["we loved it", "good", "the room was clean and the staff friendly, good value", "bad"]
    names = ["distilbert", "mobilebert", "modernbert", "gpt2", "t5enc"]
    command = [sys.executable, "-W", "ignore", CASES / "make_encoders.py", tmp_path, *names]
    subprocess.run(command, check=True, capture_output=True)
    for name in names:
        agree(tmp_path / name, texts)


def test_one_text_at_a_time_is_the_definition(tmp_path):
    """`plain` is what the tests of BERT compare with, too."""
    model = transformers.BertModel(transformers.BertConfig(**SIZES))
    folder = save_tiny(tmp_path / "bert", model)
    expected = one_by_one(folder, TEXTS, "all", "mean")
    np.testing.assert_allclose(plain(folder, TEXTS), expected, atol=1e-6)
