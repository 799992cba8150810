"""AUC and balanced accuracy: scikit-learn's values, and the jackknife done the slow way."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from mmlib.scores import two_classes


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    groups = np.sort(rng.integers(0, 12, 150))
    positive = rng.random(150) < 0.6
    score = np.round(positive + rng.normal(0, 1, (2, 150)), 1)  # with ties
    return score, positive, groups


def test_the_values_are_scikit_learns_with_and_without_each_group(case):
    score, positive, groups = case
    ours = two_classes.auc(score, positive, groups)
    chosen = two_classes.balanced_accuracy(score > 0.5, positive, groups)
    for s in range(2):
        assert ours.scores[s] == pytest.approx(roc_auc_score(positive, score[s]))
        right = balanced_accuracy_score(positive, score[s] > 0.5)
        assert chosen.scores[s] == pytest.approx(right)
        for g in range(12):
            rest = groups != g
            assert ours.without[s, g] == pytest.approx(
                roc_auc_score(positive[rest], score[s][rest])
            )
            right = balanced_accuracy_score(positive[rest], score[s][rest] > 0.5)
            assert chosen.without[s, g] == pytest.approx(right)


def test_intervals_hold_the_mean_and_pairs_are_told_apart(case):
    score, positive, groups = case
    ours = two_classes.auc(score, positive, groups)
    low, high = ours.interval()
    assert low < ours.scores.mean() < high <= 1
    noise = two_classes.auc(np.random.default_rng(1).random((2, 150)), positive, groups)
    gap = ours.minus(noise)
    assert gap.p < 0.05 and gap.ci_low > 0 and ours.minus(ours).diff == 0


def test_too_few_of_a_class_are_one_line(case):
    score, positive, groups = case
    few = positive & (np.cumsum(positive) <= 29)
    for metric in (two_classes.auc, two_classes.balanced_accuracy):
        with pytest.raises(
            ValueError, match=r"^29 positive utterances; AUC and .* need 30 of each"
        ):
            metric(score > 0, few, groups)
        with pytest.raises(ValueError, match="1 group"):
            metric(score > 0, positive, np.zeros(150))
        apart = np.where(positive, "p", np.arange(150).astype(str))
        with pytest.raises(ValueError, match=r"^group 'p' holds every positive utterance; .* ids"):
            metric(score, positive, apart)
