"""Linear layers in 8 bits: by their definition, in any batch, on any processor; else refused."""

import numpy as np
import pytest
import torch
from torch import nn

from mmlib.text import compressed, encoder, encoding
from mmlib.text.compressed import EightBit, to_eight_bits
from mmlib.text.encoding import encode

TEXTS = ["Good.", "The room was clean, but breakfast was cold.", "No!", "We would come again. " * 9]


def exact(a, b):
    """What `torch._int_mm` computes where sums do not overflow."""
    return (a.double() @ b.double()).int()


@pytest.fixture(autouse=True)
def sums(monkeypatch):
    """Exact sums also on a processor that has none, so that the rest is tested there, too."""
    monkeypatch.setattr(torch, "_int_mm", exact)


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return nn.Linear(48, 20)


def test_a_layer_is_its_definition(layer):
    x = torch.randn(3, 5, 48)
    x[0, 0] = 0  # a token without any value
    weight, bias = (p.detach().double().numpy() for p in layer.parameters())
    v = np.abs(weight).max(axis=1) / 127  # (k,)
    s = np.abs(x.double().numpy()).max(axis=-1, keepdims=True) / 127  # (3, 5, 1)
    q = np.round(x.numpy() / np.maximum(s, 1e-12))
    expected = s * v * (q @ np.round(weight / v[:, None]).T) + bias
    y = EightBit(layer)(x)
    assert y.shape == (3, 5, 20) and y.dtype == torch.float32
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-5)
    assert 0 < (y - layer(x)).abs().max() < 0.05  # rounded, but little
    without = nn.Linear(48, 20, bias=False)
    without.weight = layer.weight
    torch.testing.assert_close(EightBit(without)(x), y - layer.bias)


def test_no_token_depends_on_another(layer):
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


def test_features_are_near_float32_and_the_same_in_any_batch(tmp_path, monkeypatch):
    pytest.importorskip(encoder.MINILM_PACKAGE, reason="extra 'offline' is not installed")
    monkeypatch.setenv("MMLIB_CACHE", str(tmp_path))
    exact32 = encode(TEXTS)
    whole, report = encode(TEXTS, dtype="int8", report=True)
    assert report.cached == 0 and report.settings["dtype"] == "int8"  # not those of float32
    cosine = (exact32 * whole).sum(1)
    cosine /= np.linalg.norm(exact32, axis=1) * np.linalg.norm(whole, axis=1)
    assert 0.97 < cosine.min() < cosine.mean() < 1 and whole.dtype == np.float32
    alone = [encode([text], dtype="int8", cache=False)[0] for text in TEXTS]
    assert np.array_equal(whole, np.stack(alone))


def overflowing(a, b):
    """As AVX2 alone: a is shifted to 0 .. 255, and the sum of two products is cut to 16 bits."""
    products = (a.double() + 128)[:, :, None] * b.double()  # (n, d, k)
    pairs = products.unflatten(1, (-1, 2)).sum(dim=2).clamp(-(2**15), 2**15 - 1)
    return (pairs.sum(dim=1) - 128 * b.double().sum(dim=0)).int()


def test_a_processor_that_overflows_is_refused_and_stored_features_are_read(tmp_path, monkeypatch):
    pytest.importorskip(encoder.MINILM_PACKAGE, reason="extra 'offline' is not installed")
    monkeypatch.setenv("MMLIB_CACHE", str(tmp_path))
    known = encode(TEXTS, dtype="int8")
    few = (torch.ones(3, 4).char(), torch.ones(4, 2).char())
    assert torch.equal(overflowing(*few), exact(*few))  # wrong for large sums only
    monkeypatch.setattr(torch, "_int_mm", overflowing)
    encoding._load.cache_clear()
    assert np.array_equal(encode(TEXTS, dtype="int8"), known)
    with pytest.raises(ValueError, match=r"^8 bits need a CPU .*VNNI\); use float32 or bfloat16$"):
        encode(["Another text."], dtype="int8")
    with pytest.raises(ValueError, match="8 bits need a CPU"):
        to_eight_bits(nn.Linear(4, 4, device="meta"))


def test_this_processor_is_exact_or_refused(monkeypatch, layer):
    """`torch._int_mm` itself, on the largest sums of an encoder's layers."""
    monkeypatch.undo()
    try:
        to_eight_bits(nn.Sequential(layer))
    except ValueError:
        return
    for n, d, k in ((1, 384, 1536), (33, 3072, 768), (compressed.ROWS, 1536, 384)):
        a = torch.randint(-127, 128, (n, d), dtype=torch.int8)
        a[0] = 127
        b = torch.randint(-127, 128, (k, d), dtype=torch.int8).T
        b[:, 0] = 127
        assert torch.equal(torch._int_mm(a, b), exact(a, b))
