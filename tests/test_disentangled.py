"""DeBERTa's attention by SDPA against transformers' own."""

import copy

import pytest
import torch
from transformers import DebertaConfig, DebertaModel, DebertaV2Config, DebertaV2Model

from mmlib.finetune.deberta_sdpa import attend, shifted, use_sdpa

SIZES = {"vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
SIZES |= {"intermediate_size": 16, "max_position_embeddings": 40, "relative_attention": True}
SIZES |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
BOTH = ["c2p", "p2c"]


def v1(**own):
    return DebertaModel(DebertaConfig(**{**SIZES, "pos_att_type": BOTH, **own}))


def v2(**own):
    return DebertaV2Model(DebertaV2Config(**{**SIZES, "pos_att_type": BOTH, **own}))


MODELS = {
    "v1": (v1, {}),
    "v1, keys alone": (v1, {"pos_att_type": ["c2p"]}),
    "v1, texts longer than the table": (v1, {"max_relative_positions": 5}),
    "v2": (v2, {}),
    "v2, queries alone": (v2, {"pos_att_type": ["p2c"]}),
    "v3": (v2, {"share_att_key": True, "position_buckets": 6, "norm_rel_ebd": "layer_norm"}),
}


def both_ways(kind):
    """The same model with transformers' attention and with ours, in float64."""
    torch.manual_seed(0)
    build, own = MODELS[kind]
    model = build(**own).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model, use_sdpa(copy.deepcopy(model))


@pytest.mark.parametrize("t", [1, 2, 9, 32])
@pytest.mark.parametrize("kind", MODELS)
def test_states_and_gradients_are_those_of_transformers(kind, t):
    found = []
    ids, mask = torch.arange(3 * t).view(3, t) % 50, torch.ones(3, t, dtype=torch.long)
    mask[1, t // 2 + 1 :] = 0
    for model in both_ways(kind):
        states = model(ids, attention_mask=mask).last_hidden_state * mask[..., None]
        (states * torch.arange(24.0).sin()).sum().backward()
        grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        found.append((states.detach(), grads))
    (theirs, their_grads), (ours, our_grads) = found
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)  # their root is of float32
    assert our_grads.keys() == their_grads.keys()
    for name, grad in their_grads.items():
        torch.testing.assert_close(our_grads[name], grad, rtol=1e-5, atol=1e-5, msg=name)


def test_what_it_cannot_do_stays():
    for model in (v1(talking_head=True), v2(pos_att_type=[*BOTH, "p2p"])):
        assert "forward" not in vars(use_sdpa(model).encoder.layer[0].attention.self)
    theirs, ours = both_ways("v1")
    assert ours.encoder.layer[0].attention.self.forward.__func__ is attend
    ids = torch.arange(6).view(1, 6)
    for one, other in zip(
        theirs(ids, output_attentions=True).attentions,
        ours(ids, output_attentions=True).attentions,
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_shifted_picks_each_distance():
    t = 5
    column = torch.arange(2 * t).expand(t, -1)
    i, j = torch.arange(t)[:, None], torch.arange(t)
    assert torch.equal(shifted(column), t + j - i)
