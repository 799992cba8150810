"""Counts worked out by hand; a latency is a time, no more is asserted."""

import time

import numpy as np
import torch
from torch import nn

from mmlib.dyfulm import cost
from mmlib.dyfulm.model import DyFuLM


def model_of(**switch):
    return DyFuLM((5, 7), (3, 4), 8, **switch).reset([np.random.default_rng(0)])


def test_parameters_by_part():
    found = cost.parameters(model_of())
    encoder = {d: 8 * d + 8 + 2 * (8 * 8 + 8 + 2 * 8) + 4 for d in (5, 7)}  # project, BiLSTM, w
    assert found == {"fusion": sum(encoder.values()), "gate": 16 * 8 + 8, "coarse": 27,
                     "intensity": 9, "guide": 40, "fine": 45}  # fmt: skip
    assert "guide" not in cost.parameters(model_of(guidance=False))


def test_activations_are_what_backward_needs():
    layer, x = nn.Linear(4, 6), torch.randn(10, 4)
    assert cost.activations(layer, lambda: layer(x)) == 4 * 40  # the input, not the weight
    assert cost.activations(layer, lambda: layer(x).tanh()) == 4 * (40 + 60)
    with torch.inference_mode():
        assert cost.activations(layer, lambda: layer(x)) == 0


def test_table_has_a_row_a_model_and_one_encoder_costs_less():
    table = cost.fusion_and_heads({"dyfulm": model_of(), "single_a": model_of(gate="a")}, batch=4)
    assert table.index.tolist() == ["dyfulm", "single_a"] and (table > 0).all(axis=None)
    counted = ["parameters", "weights_mb", "activations_mb"]
    assert (table.loc["dyfulm", counted] > table.loc["single_a", counted]).all()


def test_latency_is_that_of_one_call_whatever_their_number():
    calls, threads = [], torch.get_num_threads()
    long = cost.latency(lambda: (calls.append(1), time.sleep(0.01)), seconds=0.05)
    assert long >= 10 and len(calls) >= 5 and torch.get_num_threads() == threads  # ms
