"""Experiments: effects in one unit, honest p-values, and no claim beyond the weakest control."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from shortcut_finder.stats.experiments import (
    EARLY_PAIRS,
    FEWEST_PAIRS,
    FLOOR,
    Answers,
    Experiment,
    Verification,
    answers_for,
    controlled,
    effect_of,
    masked_arm,
    mean_interval,
    pasted_arm,
    signed_rank_p,
)
from shortcut_finder.stats.surplus import surplus_of

PAIRS = 32


def answers(log_odds: np.ndarray) -> Answers:
    return answers_for(np.stack([log_odds, np.zeros_like(log_odds)], axis=1), 0)


def spread(mean: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 0.5, PAIRS)


def paste_experiment(treated: float, *controls: float, pairs: int = PAIRS) -> Experiment:
    before, after = answers(spread(-4.0)), answers(spread(treated, 1))
    arms = [
        pasted_arm(f"control {n}", after, answers(spread(mean, 2 + n)), before)
        for n, mean in enumerate(controls)
    ]
    return Experiment("paste", "same place", pairs, 0.02, 0.5, 0.5, tuple(arms), q=0.001)


def test_answers_are_probability_and_log_odds_of_one_class() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (50, 4))
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = answers_for(logits, 2)
    assert found.probability == pytest.approx(softmax[:, 2])
    assert found.log_odds == pytest.approx(np.log(softmax[:, 2] / (1 - softmax[:, 2])))
    assert np.array_equal(found.chosen, softmax.argmax(axis=1) == 2)


def test_huge_logits_stay_finite() -> None:
    found = answers_for(np.array([[900.0, -900.0], [-900.0, 900.0]]), 0)
    assert found.log_odds.tolist() == [1800.0, -1800.0]
    assert found.probability.tolist() == [1.0, 0.0]


def test_the_effect_is_what_an_undecided_image_would_show() -> None:
    for change in (-3.0, 0.4, 1.7):
        up, down = 1 / (1 + np.exp(-change / 2)), 1 / (1 + np.exp(change / 2))
        assert effect_of(change) == pytest.approx(up - down)


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        _, low, high = mean_interval(rng.normal(0.3, 1.0, 24))
        covered += low <= 0.3 <= high
    assert 0.94 <= covered / 2000 <= 0.96


def test_p_is_uniform_when_treatment_and_control_are_alike() -> None:
    rng = np.random.default_rng(1)
    p = [signed_rank_p(rng.standard_t(3, PAIRS)) for _ in range(1500)]
    assert stats.kstest(p, "uniform").pvalue > 0.05


def test_no_difference_at_all_is_no_evidence() -> None:
    assert signed_rank_p(np.zeros(PAIRS)) == 1.0
    assert signed_rank_p(np.full(PAIRS, 1e-9)) == 1.0


def test_a_paste_must_beat_its_strongest_control() -> None:
    assert paste_experiment(1.0, -4.0, -3.0).holds
    beaten = paste_experiment(1.0, -4.0, 1.0)
    assert not beaten.holds
    assert beaten.strongest.name == "control 1"
    assert beaten.p > 0.05


def test_masking_counts_the_fall_of_the_label() -> None:
    before = answers(spread(4.0))
    arm = masked_arm("blur", answers(spread(-1.0, 1)), answers(spread(3.5, 2)), before)
    assert arm.log_odds == pytest.approx(4.5, abs=0.3)
    assert arm.effect > 0.7
    assert arm.flips == 0.0
    assert arm.after == pytest.approx(0.97, abs=0.02)


def test_too_few_pairs_and_small_effects_do_not_hold() -> None:
    assert not paste_experiment(1.0, -4.0, pairs=FEWEST_PAIRS - 1).holds
    small = paste_experiment(-3.8, -4.0)
    assert small.strongest.effect < FLOOR
    assert not small.holds


def test_only_a_narrow_interval_rules_reliance_out() -> None:
    assert paste_experiment(-4.0, -4.0).rules_out
    assert not paste_experiment(-3.5, -4.0).rules_out
    assert not paste_experiment(-4.0, -4.0, pairs=EARLY_PAIRS - 1).rules_out


def test_rates_are_those_of_benjamini_and_hochberg_over_findings() -> None:
    strong, weak = paste_experiment(1.0, -4.0), paste_experiment(-3.9, -4.0)
    rated = controlled([(strong, weak), (), (weak,)])
    assert [len(one) for one in rated] == [2, 0, 1]
    expected = stats.false_discovery_control([min(1.0, 2 * strong.p), weak.p])
    assert rated[0][0].q == pytest.approx(expected[0])
    # The weak one gains nothing from standing beside a strong one.
    assert rated[0][1].q >= 2 * weak.p or rated[0][1].q == 1.0
    assert rated[2][0].q == pytest.approx(expected[1])


def test_an_addition_makes_its_images_surer_than_their_class() -> None:
    plain = spread(2.0)
    added = surplus_of(spread(5.0, 1), spread(2.1, 2), plain)
    assert added.share == pytest.approx(1.0, abs=0.15)
    itself = surplus_of(spread(2.2, 1), spread(-1.0, 2), plain)
    assert itself.share < 0.2
    otherwise = surplus_of(spread(5.0, 1), spread(4.0, 2), plain)
    assert otherwise.share > 2
    assert surplus_of(spread(2.0)[:4], spread(2.0)[:4], plain) is None
    assert surplus_of(spread(2.0), spread(2.0), plain[:4]) is None


def test_the_decisive_experiment_is_one_that_holds() -> None:
    holds, fails = paste_experiment(-3.0, -4.0), paste_experiment(1.0, -4.0, pairs=10)
    verification = Verification(experiments=(fails, holds))
    assert verification.decisive is holds
    assert verification.holds
    assert not verification.ruled_out
    assert Verification("no power").decisive is None
