"""How many samples a budget of training asks for, held against dense curves of the losses."""

import numpy as np
import pytest

import rfspec as rf

PAPER = rf.RandomFeatureModel(psi_p=64.0, psi_n=8.0, t=0.01)
NEAR = 1e-6  # relative step beside the answer


def beside(answer, side):
    return answer.model.replace(**{answer.parameter: answer.value * (1.0 + side * NEAR)})


def densely(model, tau):
    """Times and test losses of a dense curve up to tau."""
    times = np.geomspace(1e-3 * tau, tau, 2000)
    curve = rf.learning_curve(model, times)
    return times, np.asarray(curve.test), np.asarray(curve.train)


def excess_at(model, tau):
    """By how much the test loss at tau exceeds its smallest value up to there."""
    _, test, _ = densely(model, tau)
    return float(test[-1] - test.min())


@pytest.mark.parametrize("parameter", ["n", "p"])
def test_training_until_the_budget_is_safe_and_just_so(parameter):
    tau = 1e4
    answer = rf.required(PAPER, parameter, for_tau=tau)
    assert excess_at(answer.model, tau) == pytest.approx(0.01, rel=1e-4)  # of a grid of 2,000
    assert answer.error < 1e-8
    better, worse = (float(rf.early_stopping(beside(answer, s)).window.upper) for s in (1, -1))
    assert better > tau > worse if parameter == "n" else worse > tau > better
    assert float(getattr(answer.model, answer.parameter)) == answer.value


def test_more_samples_keep_a_budget_safe():
    tau = 1e4
    answer = rf.required(PAPER, "n", for_tau=tau)
    for factor in (1.01, 1.5, 4.0, 30.0):
        assert excess_at(answer.model.replace(psi_n=factor * answer.value), tau) < 0.01
        assert excess_at(answer.model.replace(psi_n=answer.value / factor), tau) > 0.01


def test_the_gap_at_the_best_time_is_as_small_as_asked():
    answer = rf.required(PAPER, "n", for_gap=1e-3)
    _, test, train = densely(answer.model, 1e5)
    i = test.argmin()
    assert test[i] - train[i] == pytest.approx(1e-3, rel=1e-2)  # the best of a grid
    assert float(answer.stop.test - answer.stop.train) == pytest.approx(1e-3, rel=1e-10)
    for factor in (1.01, 2.0):
        gap = lambda psi_n: (s := rf.early_stopping(PAPER.replace(psi_n=psi_n))).test - s.train
        assert gap(answer.value * factor) < 1e-3 < gap(answer.value / factor)


@pytest.mark.parametrize("tau", [1e5, np.inf])
@pytest.mark.parametrize("parameter", ["n", "p", "t"])
def test_the_gap_at_a_given_time_is_as_small_as_asked(parameter, tau):
    answer = rf.required(PAPER, parameter, for_gap=0.5, tau=tau)
    gap = lambda model: float(rf.learning_curve(model, tau).gap)
    assert gap(answer.model) == pytest.approx(0.5, rel=1e-9)
    if parameter == "n":
        assert gap(PAPER.replace(psi_n=answer.value * 1.01)) < 0.5
        assert gap(PAPER.replace(psi_n=answer.value / 1.01)) > 0.5


def test_an_end_of_the_window_that_jumps():
    """Beyond some psi_n the late losses lie within the tolerance, and the window has no end."""
    answer = rf.required(PAPER, "n", for_tau=1e30)
    below, above = (rf.early_stopping(beside(answer, s)).window.upper for s in (-1, 1))
    assert float(answer.stop.window.upper) >= 1e30
    assert float(above) == np.inf
    assert float(below) < 1e30
    limit = answer.stop.test_limit - answer.stop.test
    assert float(limit) == pytest.approx(0.01, rel=1e-6)


REFUSED = {
    "none": ({}, "give exactly one of for_window, for_tau, for_gap, got none"),
    "two": ({"for_tau": 1.0, "for_gap": 1.0}, "exactly one of .* got for_tau and for_gap"),
    "tau alone": ({"for_tau": 1.0, "tau": 3.0}, "tau goes with for_gap, got for_tau"),
    "budget": ({"for_tau": -1.0}, "for_tau must be .* greater than 0, got -1.0"),
    "gap": ({"for_gap": 0.0}, "for_gap must be .* greater than 0, got 0.0"),
    "times": ({"for_gap": 1.0, "tau": [1.0, 2.0]}, "tau must be one number greater than 0"),
    "start": ({"for_gap": 1.0, "tau": 0.0}, "tau must be one number greater than 0, got 0.0"),
    "so few": (
        {"for_tau": 1e-3},
        r"for_tau must be an end of the window that some psi_n from .* to .* has, got 0.001; that "
        r"at 8 is 2906.66 already",
    ),
    "so large": (
        {"for_gap": 5.0},
        r"for_gap must be a gap at the best time that some psi_n from .* has, got 5; that at 8 is "
        "0.00267642 already",
    ),
}


@pytest.mark.usefixtures("given_anything")
@pytest.mark.parametrize("case", REFUSED)
def test_a_wish_that_nothing_fulfils(case):
    given, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        rf.required(PAPER, "n", **given)
