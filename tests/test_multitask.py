"""Losses and their weightings against values worked out by hand."""

import numpy as np
import pytest
import torch

from mmlib.dyfulm import losses
from mmlib.dyfulm.losses import ClassWeights, Targets, weighting
from mmlib.dyfulm.model import Output

LOG = np.log


def output(coarse, fine, intensity):
    """Two utterances of one member."""
    rows = (torch.tensor(values, dtype=torch.float32)[None] for values in (coarse, intensity, fine))
    return Output(*rows, None, None, None, None)


# shares 1/2, 1/4, 1/4 and 1/5 each; intensities .5 and .9
SAID = output([[LOG(2), 0, 0]] * 2, [[0.0] * 5] * 2, [0.5, 0.9])
TRUE = Targets(torch.tensor([[0, 2]]), torch.tensor([[4, 0]]), torch.tensor([[0.5, 0.4]]))


def test_losses_by_hand():
    each = losses.each(SAID, TRUE)
    assert each.shape == (1, 3, 2)
    expected = [[LOG(2), LOG(4)], [LOG(5), LOG(5)], [0, 0.25]]
    np.testing.assert_allclose(each[0], expected, atol=1e-6)
    np.testing.assert_allclose(losses.task_losses(SAID, TRUE)[0], np.mean(expected, 1), atol=1e-6)


def test_huber_is_linear_beyond_its_knee():
    each = losses.each(SAID, TRUE, regression="huber")
    np.testing.assert_allclose(each[0, 2], [0, 0.1 * (0.5 - 0.05)], atol=1e-6)
    with pytest.raises(ValueError, match="unknown regression 'l1'; choose one of l2, huber"):
        losses.each(SAID, TRUE, regression="l1")


def test_balanced_class_weights():
    weights = ClassWeights.balanced(torch.tensor([0, 0, 0, 2]), torch.tensor([0, 1, 2, 3]))
    np.testing.assert_allclose(weights.coarse, [4 / 9, 0, 4 / 3], atol=1e-6)
    np.testing.assert_allclose(weights.fine, [0.8] * 4 + [0], atol=1e-6)
    each = losses.each(SAID, TRUE, class_weights=weights)
    np.testing.assert_allclose(each[0, 0], [4 / 9 * LOG(2), 4 / 3 * LOG(4)], atol=1e-6)
    np.testing.assert_allclose(each[0, 1], [0, 0.8 * LOG(5)], atol=1e-6)
    np.testing.assert_allclose(each[0, 2], [0, 0.25], atol=1e-6)


LOSSES = torch.tensor([[1.0, 2.0, 0.1], [3.0, 1.0, 0.2]])  # (s, 3)


def test_static_is_the_sum():
    np.testing.assert_allclose(weighting("static", 2)(LOSSES), [3.1, 4.2], atol=1e-6)


def test_uncertainty_by_hand():
    rule = weighting("uncertainty", 2)
    np.testing.assert_allclose(rule(LOSSES).detach(), [3.05, 4.1], atol=1e-6)
    rule.tenth.data = torch.tensor([[LOG(2), 0, LOG(4)], [0, 0, 0]]).float() / 10
    first = 1 / 2 + 2 + 0.1 / 8 + LOG(2) / 2 + LOG(4) / 2
    np.testing.assert_allclose(rule(LOSSES).detach(), [first, 4.1], atol=1e-6)


def test_uncertainty_settles_where_each_term_is_half():
    rule = weighting("uncertainty", 2)
    rule.tenth.data = torch.log(LOSSES * torch.tensor([2, 2, 1.0])) / 10
    rule(LOSSES).sum().backward()
    np.testing.assert_allclose(rule.tenth.grad, np.zeros((2, 3)), atol=1e-6)
    np.testing.assert_allclose((rule.weights * LOSSES).detach(), np.full((2, 3), 0.5), atol=1e-6)


def test_dwa_by_hand():
    rule = weighting("dwa", 2)
    history = []
    for falling in (1.0, 0.5, 0.25):
        history.append(rule.weights.clone())
        rule.epoch_ends(LOSSES * torch.tensor([falling, 1.0, 1.0]))
    history.append(rule.weights)
    np.testing.assert_allclose(history[0], 1)
    np.testing.assert_allclose(history[1], 1)
    ratio = np.exp([0.5 / 2, 1 / 2, 1 / 2])
    for weights in history[2:]:  # the first loss halves in both
        np.testing.assert_allclose(weights, [3 * ratio / ratio.sum()] * 2, rtol=1e-5)
        np.testing.assert_allclose(weights.sum(-1), 3, rtol=1e-6)
    np.testing.assert_allclose(rule(LOSSES), (history[-1] * LOSSES).sum(-1), rtol=1e-6)


@pytest.mark.parametrize("name", losses.WEIGHTINGS)
def test_members_have_weights_of_their_own(name):
    both, second = weighting(name, 2), weighting(name, 1)
    for k in (1.0, 0.7, 0.6):
        both.epoch_ends(LOSSES * torch.tensor([[k, 1, 1], [1, k, 1]]))
        second.epoch_ends((LOSSES * torch.tensor([[k, 1, 1], [1, k, 1]]))[1:])
    assert both.weights.shape == (2, 3)
    assert torch.allclose(both(LOSSES)[1:], second(LOSSES[1:]))


@pytest.mark.parametrize("name", losses.WEIGHTINGS)
def test_a_saved_weighting_goes_on_where_it_stopped(name):
    rule, again = weighting(name, 2), weighting(name, 2)
    rule.epoch_ends(LOSSES)
    again.load_state_dict(rule.state_dict())
    for one in (rule, again):
        one.epoch_ends(LOSSES * torch.tensor([0.5, 1, 1]))
    assert torch.equal(rule.weights, again.weights)


def test_unknown_weighting_names_the_choices():
    with pytest.raises(ValueError, match="unknown weighting 'gradnorm'; choose one of static"):
        weighting("gradnorm")
