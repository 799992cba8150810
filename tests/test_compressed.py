"""Linear layers in 8 bits: by their definition, in any batch, and alike on any processor."""

import numpy as np
import pytest
import torch
from torch import nn

from mmlib.text import compressed, encoder, encoding
from mmlib.text.compressed import EightBit, to_eight_bits
from mmlib.text.encoding import encode

TEXTS = ["Good.", "The room was clean, but breakfast was cold.", "No!", "We would come again. " * 9]
HERE = compressed.is_exact(torch.device("cpu"))


@pytest.fixture(params=[False, True], ids=["in float32", "in 8 bits"])
def kind(request, monkeypatch):
    """How whole numbers are summed: in float32, or by the processor's 8-bit instructions."""
    if request.param and not HERE:
        pytest.skip("this processor's 8-bit sums overflow")
    monkeypatch.setattr(compressed, "is_exact", lambda device: request.param)
    encoding._load.cache_clear()
    yield torch.int8 if request.param else torch.float32
    encoding._load.cache_clear()


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return nn.Linear(48, 20)


def test_a_layer_is_its_definition(layer, kind):
    x = torch.randn(3, 5, 48)
    x[0, 0] = 0  # a token without any value
    weight, bias = (p.detach().double().numpy() for p in layer.parameters())
    v = np.abs(weight).max(axis=1) / 127  # (k,)
    s = np.abs(x.double().numpy()).max(axis=-1, keepdims=True) / 127  # (3, 5, 1)
    q = np.round(x.numpy() / np.maximum(s, 1e-12))
    expected = s * v * (q @ np.round(weight / v[:, None]).T) + bias
    eight = EightBit(layer)
    y = eight(x)
    assert eight.weight.dtype == kind and y.dtype == torch.float32 and y.shape == (3, 5, 20)
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-5)
    assert 0 < (y - layer(x)).abs().max() < 0.05  # rounded, but little
    without = nn.Linear(48, 20, bias=False)
    without.weight = layer.weight
    torch.testing.assert_close(EightBit(without)(x), y - layer.bias)


def test_no_token_depends_on_another(layer, kind):
    x = torch.randn(2 * compressed.ROWS + 7, 48)
    x[3] *= 1000  # one scale for all would round the others to nothing
    eight = EightBit(layer)
    assert torch.equal(eight(x), torch.cat([eight(row[None]) for row in x]))
    order = torch.randperm(len(x))
    assert torch.equal(eight(x)[order], eight(x[order]))


def test_only_whole_linear_layers_are_exchanged(layer):
    model = nn.ModuleDict({"inner": nn.Sequential(layer, nn.LayerNorm(20)), "own": nn.Linear(2, 2)})
    assert to_eight_bits(model) is model
    kinds = [type(part) for part in (model["inner"][0], model["inner"][1], model["own"])]
    assert kinds == [EightBit, nn.LayerNorm, EightBit]
    assert {"inner.0.weight", "own.scale", "own.bias"} <= set(model.state_dict())


def test_features_are_near_float32_and_the_same_in_any_batch(tmp_path, monkeypatch, caplog, kind):
    pytest.importorskip(encoder.MINILM_PACKAGE, reason="extra 'offline' is not installed")
    monkeypatch.setenv("MMLIB_CACHE", str(tmp_path))
    monkeypatch.setattr(encoding, "is_exact", compressed.is_exact)
    exact = encode(TEXTS)
    rounded, report = encode(TEXTS, dtype="int8", report=True)
    assert report.cached == 0 and report.settings["dtype"] == "int8"  # not those of float32
    assert ("cpu has no instructions for int8; float32" in caplog.text) == (kind == torch.float32)
    cosine = (exact * rounded).sum(1)
    cosine /= np.linalg.norm(exact, axis=1) * np.linalg.norm(rounded, axis=1)
    assert 0.97 < cosine.min() < cosine.mean() < 1 and rounded.dtype == np.float32
    alone = [encode([text], dtype="int8", cache=False)[0] for text in TEXTS]
    assert np.array_equal(rounded, np.stack(alone))


@pytest.mark.skipif(not HERE, reason="this processor's 8-bit sums overflow")
def test_both_kinds_of_sums_are_equal(monkeypatch):
    """On the largest possible sums that float32 holds, and on random ones of an encoder's sizes."""
    for n, d, k in ((1, 384, 1536), (33, 3072, 768), (compressed.ROWS, 1536, 384)):
        x = torch.randn(n, d)
        x[0, :1000], x[0, 1000:] = 5, 0
        layer = nn.Linear(d, k)
        layer.weight.data[0] = 1
        kinds = []
        for is_exact in (True, False):
            monkeypatch.setattr(compressed, "is_exact", lambda device, told=is_exact: told)
            kinds.append(EightBit(layer))
        assert [one.weight.dtype for one in kinds] == [torch.int8, torch.float32]
        assert torch.equal(kinds[0](x), kinds[1](x))


def overflowing(a, b):
    """As AVX2 alone: a is shifted to 0 .. 255, and the sum of two products is cut to 16 bits."""
    products = (a.double() + 128)[:, :, None] * b.double()  # (n, d, k)
    pairs = products.unflatten(1, (-1, 2)).sum(dim=2).clamp(-(2**15), 2**15 - 1)
    return (pairs.sum(dim=1) - 128 * b.double().sum(dim=0)).int()


def test_a_processor_that_overflows_is_found_out(monkeypatch):
    few = (torch.ones(3, 4).char(), torch.ones(4, 2).char())
    assert overflowing(*few).tolist() == [[4, 4]] * 3  # wrong for large sums only
    monkeypatch.setattr(torch, "_int_mm", overflowing)
    here = torch.device("cpu")
    assert not compressed.is_exact.__wrapped__(here)
    monkeypatch.setattr(torch, "_int_mm", lambda a, b: (a.double() @ b.double()).int())
    assert compressed.is_exact.__wrapped__(here)
    assert not compressed.is_exact(torch.device("meta"))
