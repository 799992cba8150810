"""What a GPU computes is what the CPU computes; skipped where there is none."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from mmlib.daf import features, train
from mmlib.data import load
from mmlib.data.targets import targets
from mmlib.dyfulm import frozen
from mmlib.finetune.checkpoint import read_log
from mmlib.finetune.config import Config
from mmlib.finetune.deberta_sdpa import use_sdpa
from mmlib.finetune.run import finetune
from mmlib.text import encoding
from mmlib.text.encoder import load as load_encoder
from mmlib.text.made import carried, small

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.fixture(scope="module")
def reviews():
    corpus = load("synthetic_reviews")
    return corpus.take(np.concatenate([corpus.rows(s)[:64] for s in ("train", "valid", "test")]))


@pytest.fixture(scope="module")
def encoder(reviews, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        return str(small(reviews.text, vocabulary=80, width=32, depth=2, steps=2))


def test_states_are_those_of_the_cpu(reviews):
    here, there = (
        encoding.encode(reviews.text[:64], layers="all", device=device, cache=False)
        for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(there, here, atol=1e-4)


def test_daf_learns_the_same():
    data = features.build(load("synthetic"))
    settings = train.Settings(epochs=3, patience=3)
    here, there = (train.fit(data, settings, range(3), device=d) for d in ("cpu", "cuda"))
    np.testing.assert_allclose(there.valid_loss, here.valid_loss, atol=1e-3)
    again = train.fit(data, settings, range(3), device="cuda")
    np.testing.assert_allclose(again.valid_loss, there.valid_loss, atol=1e-4)


def test_frozen_dyfulm_learns_the_same(reviews, encoder):
    states = frozen.states(reviews, encoder, encoder, cache=False)
    settings = frozen.Settings(epochs=3, patience=3, batch=16)
    here, there = (
        frozen.fit(states, targets(reviews), settings, range(3), device=d) for d in ("cpu", "cuda")
    )
    np.testing.assert_allclose(there.valid_loss, here.valid_loss, rtol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_debertas_sdpa(dtype):
    model, tokenizer = load_encoder(carried())
    words = ["the room was not clean", "a long, long night with a view of the harbour " * 9]
    read = tokenizer(words, return_tensors="pt", padding=True).to("cuda")
    for layer in model.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    torch.nn.init.normal_(model.encoder.rel_embeddings.weight, std=0.1)
    reference = copy.deepcopy(model).double().cuda().train()
    ours = use_sdpa(copy.deepcopy(model)).to(dtype).cuda().train()
    theirs = model.to(dtype).cuda().train()
    found = []
    for one in (reference, theirs, ours):
        states = one(**read).last_hidden_state[read["attention_mask"] == 1]
        (states * torch.arange(384.0, device="cuda").sin()).sum().backward()
        found.append((states.double(), one.encoder.rel_embeddings.weight.grad.double()))
    (states, grad), far, near = found
    for exact, other, own in ((states, far[0], near[0]), (grad, far[1], near[1])):
        error, bar = (torch.linalg.norm(x - exact) / torch.linalg.norm(exact) for x in (own, other))
        assert error < max(2 * bar, 1e-4), (float(error), float(bar))


def test_finetuning_learns_the_same_in_any_batch(reviews, encoder, tmp_path):
    config = Config([encoder, encoder], "synthetic_reviews", max_length=32, batch=16, width=16)
    config = replace(config, precision="float32", save_every=1)

    def losses(name, **own):
        folder = finetune(replace(config, **own), tmp_path / name, reviews)
        return np.array([line["loss"] for line in read_log(folder) if "loss" in line])

    here, there = losses("cpu", device="cpu", dropout=0.0), losses("gpu", dropout=0.0)
    np.testing.assert_allclose(there, here, atol=1e-3)
    np.testing.assert_allclose(losses("parts", dropout=0.0, budget=128), there, atol=1e-3)
    short = losses("short", dropout=0.0, precision="bfloat16")
    np.testing.assert_allclose(short, there, atol=0.05)
