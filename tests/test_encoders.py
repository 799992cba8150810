import resource

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

from mmlib import files
from mmlib.data.embedded.grammar import sentence
from mmlib.dyfulm.interpret import difference
from mmlib.text import encoder, made
from mmlib.text.encoding import encode
from mmlib.text.made import carried, small

REAL = [  # of the kinds that reviews hold
    "The room wasn't clean, and we didn't get our money back!",
    "Great stay 😀👍🏽 — see https://example.com/a?b=1&c=2 for photos",
    "Café au lait, 5€ … never again",
    "ok",
    "The staff were friendly. " * 12,
]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("MMLIB_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def written():
    rng = np.random.default_rng(0)
    return [sentence(rng.uniform(-3, 3), "plain", rng) for _ in range(400)]


def hidden(folder, texts, train=False):
    tokenizer, model = (
        AutoTokenizer.from_pretrained(folder, trust_remote_code=False),
        AutoModel.from_pretrained(folder, trust_remote_code=False),
    )
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model.eval()(**inputs, output_hidden_states=True).hidden_states
    return torch.stack(states)[:, inputs["attention_mask"].bool()]  # (l, tokens, d)


def test_carried_computes_the_same_at_every_layer():
    pytest.importorskip(encoder.MINILM_PACKAGE, reason="extra 'offline' is not installed")
    torch.testing.assert_close(
        hidden(carried(), REAL), hidden(encoder.locate("minilm"), REAL), atol=1e-4, rtol=0
    )


@pytest.fixture
def bert(tmp_path, written):
    """A tiny BERT with biases and positions that count."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
    model = BertModel(BertConfig(**sizes, intermediate_size=96, vocab_size=400))
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(tmp_path / "bert")
    tokenizer = AutoTokenizer.from_pretrained(
        small(written, vocabulary=400, depth=1, steps=1), trust_remote_code=False
    )
    tokenizer.save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


def test_carried_has_the_shape_of_its_source_and_learns_relative_positions(bert):
    before = torch.get_rng_state()
    folder = carried(bert, buckets=4)
    assert torch.equal(torch.get_rng_state(), before)  # the caller's random numbers are untouched
    torch.testing.assert_close(hidden(folder, REAL), hidden(bert, REAL), atol=1e-4, rtol=0)
    model, tokens = (
        AutoModel.from_pretrained(folder, trust_remote_code=False),
        torch.arange(30).view(2, 15),
    )
    model(tokens, torch.ones_like(tokens)).last_hidden_state[..., 0].sum().backward()
    gradient = model.encoder.rel_embeddings.weight.grad
    assert gradient.norm() > 1e-3 * model.embeddings.position_embeddings.weight.grad.norm()
    with torch.no_grad():
        before = model(tokens).last_hidden_state
        model.encoder.rel_embeddings.weight.add_(gradient)
        assert not torch.allclose(model(tokens).last_hidden_state, before, atol=1e-3)


def test_carried_is_of_bert_only(written):
    with pytest.raises(ValueError, match="is a deberta-v2; carry over a BERT"):
        carried(small(written, vocabulary=300, depth=1, steps=1))


def test_small_is_made_once_whole_and_the_same_again(written, tmp_path, monkeypatch):
    options = {"vocabulary": 200, "width": 32, "depth": 2, "steps": 3}
    states = encode(REAL, folder := small(written, **options), layers="all", cache=False)
    assert (
        states.shape == (5, 3, 32)
        and len(AutoTokenizer.from_pretrained(folder, trust_remote_code=False)) == 200
    )
    monkeypatch.setattr(made, "_guess_masked", lambda *_: pytest.fail("made again"))
    assert small(written, **options) == folder
    monkeypatch.undo()
    monkeypatch.setenv("MMLIB_CACHE", str(tmp_path / "other"))
    again = encode(REAL, small(written, **options), layers="all", cache=False)
    np.testing.assert_allclose(again, states, atol=1e-5)
    for other in ({"seed": 1}, {"steps": 4}):
        assert small(written, **{**options, **other}).name != folder.name
    assert small(written[1:], **options).name != folder.name


def test_small_learns_to_guess(written, monkeypatch):
    """Guesses beat the most frequent token; a few seconds are enough for these texts."""
    losses, real = [], torch.nn.functional.cross_entropy
    monkeypatch.setattr(
        torch.nn.functional, "cross_entropy", lambda *a: losses.append(real(*a)) or losses[-1]
    )
    small(written, vocabulary=300, width=64, depth=2, steps=60)
    assert np.mean([float(x.detach()) for x in losses[-5:]]) < 0.75 * float(losses[0].detach())


def test_interrupted_small_leaves_nothing(written, monkeypatch, tmp_path):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(made, "_guess_masked", stop)
    with pytest.raises(KeyboardInterrupt):
        small(written, vocabulary=300, depth=1)
    assert not [one for one in (tmp_path / "cache" / "encoders").iterdir() if one.is_dir()]


def test_what_a_killed_process_left_of_an_encoder_is_made_anew(written, monkeypatch):
    options = {"vocabulary": 300, "depth": 1, "steps": 1}
    folder = small(written, **options)
    left = folder.rename(folder.with_name(f".{folder.name}.part"))
    (left / "config.json").write_text("{")
    assert small(written, **options) == folder and AutoModel.from_pretrained(
        folder, trust_remote_code=False
    )
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_full_disk_is_named_in_one_line(written):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match=r"\Acannot write /.*small-.*MMLIB_CACHE.*\Z"):
            small(written, vocabulary=300, depth=1, steps=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_an_encoder_that_is_there_needs_no_writing(written, monkeypatch):
    kept = small(written, vocabulary=300, depth=1, steps=1)
    monkeypatch.setattr(files, "FileLock", lambda *_: pytest.fail("writes a lock"))
    assert small(written, vocabulary=300, depth=1, steps=1) == kept


def test_small_wants_enough_text():
    with pytest.raises(ValueError, match=r"2 texts are too few.*\(encoder_b: minilm\)$"):
        small(["good", "bad"])


def test_difference():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((50, 200))
    rotation = np.linalg.qr(rng.standard_normal((200, 200)))[0]
    same, turned = difference(a, a), difference(a, 3 * a @ rotation + 1)
    assert same == pytest.approx((1, 0)) and turned.cka == pytest.approx(1) and turned.distance > 1
    unlike = difference(a, rng.standard_normal((50, 30)))
    assert abs(unlike.cka) < 0.1 and np.isnan(unlike.distance)
    with pytest.raises(ValueError, match="50 and 3 states"):
        difference(a, a[:3])
