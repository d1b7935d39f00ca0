"""Bad input: a ValueError that names argument, rule and value, before any computing."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rfspec as rf

MODEL = rf.RandomFeatureModel(4.0, 2.0, 0.1)
KEY = jax.random.key(0)
SP = "rf.spectrum(MODEL)"
NINE = rf.RandomFeatureModel(
    4.0, 2.0, 0.1, covariance=rf.Atoms(np.arange(1.0, 10.0), np.full(9, 1 / 9))
)


class Continuous(rf.Isotropic):
    """A covariance that says that its atoms are only a quadrature."""

    atomic = False


CASES = {
    "psi_p negative": (lambda: rf.RandomFeatureModel(-1.0, 1.0, 0.1), "psi_p must be .* greater than 0, got -1.0"),
    "psi_p zero": (lambda: rf.RandomFeatureModel(0, 1.0, 0.1), "psi_p must be .* greater than 0, got 0"),
    "psi_n nan": (lambda: rf.RandomFeatureModel(1.0, np.nan, 0.1), "psi_n must be a finite .*, got nan"),
    "psi_n infinite": (lambda: rf.RandomFeatureModel(1.0, np.inf, 0.1), "psi_n must be a finite .*, got inf"),
    "psi_p text": (lambda: rf.RandomFeatureModel("64", 1.0, 0.1), "psi_p must be .*, got '64'"),
    "psi_p complex": (lambda: rf.RandomFeatureModel(1j, 1.0, 0.1), "psi_p must be .*, got 1j"),
    "psi_p vector": (lambda: rf.RandomFeatureModel([1.0, 2.0], 1.0, 0.1), r"psi_p must .* jax.vmap.*\[1.0, 2.0\]"),
    "psi_p true": (lambda: rf.RandomFeatureModel(True, 1.0, 0.1), "psi_p must be .*, got True"),
    "t zero": (lambda: rf.RandomFeatureModel(1.0, 1.0, 0.0), "t must be .* greater than 0, got 0"),
    "no t": (lambda: rf.RandomFeatureModel(1.0, 1.0), "exactly one of t and process"),
    "t and process": (
        lambda: rf.RandomFeatureModel(1.0, 1.0, 0.1, process=rf.FlowMatching(0.1)), "exactly one of t and process",
    ),
    "process": (lambda: rf.RandomFeatureModel(1.0, 1.0, process=0.3), "process must be a Process .*, got 0.3"),
    "s": (lambda: rf.FlowMatching(1.0), "s must be below 1, got 1.0"),
    "alpha bar above one": (
        lambda: rf.DDPM(1, alpha_bars=[1.2, 0.5]), "alpha_bars must lie between 0 and 1, both excluded, got .*1.2",
    ),
    "alpha bar zero": (lambda: rf.DDPM(1, alpha_bars=[0.5, 0.0]), "alpha_bars must lie between 0 and 1, .*, got .*0.0"),
    "alpha bars rising": (lambda: rf.DDPM(1, alpha_bars=[0.5, 0.6]), "alpha_bars must fall from step to step"),
    "betas": (lambda: rf.DDPM(1, [0.1, np.nan]), "betas must be .*, got nan"),
    "both schedules": (lambda: rf.DDPM(1, [0.1], [0.9]), "give betas or alpha_bars, not both"),
    "step": (lambda: rf.DDPM(1001), "step must be an integer from 1 to 1000, got 1001"),
    "no signal and no noise": (lambda: rf.Interpolant(0.0, 0.0), r"alpha² \+ beta² must be greater than 0"),
    "beta zero": (lambda: rf.Interpolant(1.0, 0.0), "beta must be .* greater than 0, got 0.0"),
    "alpha negative": (lambda: rf.Interpolant(-1.0, 1.0), "alpha must be a finite real number of at least 0, got -1.0"),
    "one rate": (lambda: rf.Interpolant(1.0, 1.0, 0.5), "give both of alpha_rate and beta_rate, or none"),
    "no rates": (
        lambda: rf.RandomFeatureModel(1.0, 1.0, process=rf.Interpolant(1.0, 1.0), target="velocity"),
        "needs alpha_rate and beta_rate",
    ),
    "target": (
        lambda: rf.RandomFeatureModel(1.0, 1.0, 0.1, target="x"), "target must be one of noise, .*, got 'x'",
    ),
    "noise draws": (
        lambda: rf.RandomFeatureModel(1.0, 1.0, 0.1, noise_draws=1.5), "noise_draws must be a whole number .*, got 1.5",
    ),
    "no noise draws": (lambda: rf.RandomFeatureModel(1.0, 1.0, 0.1, noise_draws=0), "noise_draws must be .*, got 0"),
    "weight decay": (
        lambda: rf.RandomFeatureModel(1.0, 1.0, 0.1, weight_decay=-0.1), "weight_decay must be .* at least 0, got -0.1",
    ),
    "no times": (lambda: rf.over_time(MODEL, []), r"ts must be .* not empty, got shape \(0,\)"),
    "a time of zero": (lambda: rf.over_time(MODEL, [0.1, 0.0]), "t must be .* greater than 0, got 0.0"),
    "weights of times": (lambda: rf.over_time(MODEL, [0.1], [1.0, 2.0]), r"weights must have the shape of ts \(1,\)"),
    "negative weights of times": (lambda: rf.over_time(MODEL, [0.1], [-1.0]), "weights must be at least 0"),
    "times of a DDPM step": (
        lambda: rf.over_time(rf.RandomFeatureModel(4.0, 2.0, process=rf.DDPM(9)), [0.1]), "process must have a time, .*DDPM",
    ),
    "covariance": (
        lambda: rf.RandomFeatureModel(1.0, 1.0, 0.1, covariance=2.0), "covariance must be a Covariance .*, got 2.0",
    ),
    "variance": (lambda: rf.Isotropic(-1.0), "variance must be .* greater than 0, got -1.0"),
    "weights sum": (lambda: rf.Atoms([1.0, 2.0], [0.5, 0.4]), "weights must sum to 1, got a sum of .*0.9"),
    "weights sign": (lambda: rf.Atoms([1.0, 2.0], [1.5, -0.5]), "weights must be greater than 0, got -0.5"),
    "weights shape": (lambda: rf.Atoms([1.0, 2.0], [1.0]), "weights must have the shape"),
    "negative variances": (lambda: rf.Atoms([1.0, -2.0], [0.5, 0.5]), "values must be variances.*got -2.0"),
    "all variances zero": (lambda: rf.Atoms([0.0], [1.0]), "values must not all be zero"),
    "values nan": (lambda: rf.Atoms([np.nan], [1.0]), "values must be .*, got nan"),
    "values empty": (lambda: rf.Atoms([], []), r"values must be .*, got an array of shape \(0,\)|values must be .* entries"),
    "values text": (lambda: rf.Atoms(["a"], [1.0]), "values must be .* entries of type"),
    "values ragged": (lambda: rf.Atoms([[1.0], [1.0, 2.0]], [1.0]), "values must be"),
    "data empty": (lambda: rf.FromData(np.zeros((0, 3))), r"X must be .*, got an array of shape \(0, 3\)"),
    "data one row": (lambda: rf.FromData([[1.0, 2.0]]), r"X must be .* at least two rows.*\(1, 2\)"),
    "data text": (lambda: rf.FromData([["a", "b"], ["c", "d"]]), "X must be .* entries of type"),
    "data nan": (lambda: rf.FromData([[1.0, np.nan], [0.0, 1.0]]), "X must be .*, got nan"),
    "data constant": (lambda: rf.FromData(np.ones((5, 3))), "X must vary, got 5 equal rows"),
    "power law not summable": (
        lambda: rf.PowerLaw(1.0), "exponent must be less than 1 .* without a cutoff, .* not summable .*got exponent=1.0",
    ),
    "power law exponent": (lambda: rf.PowerLaw(-1.0, 0.1), "exponent must be .* greater than 0, got -1.0"),
    "power law cutoff": (lambda: rf.PowerLaw(1.0, 1.0), r"cutoff must be in \[0, 1\), got 1.0"),
    "power law cutoff negative": (lambda: rf.PowerLaw(1.0, -0.1), r"cutoff must be in \[0, 1\), got -0.1"),
    "power law list": (lambda: rf.PowerLaw.of_dimension(1.0, 0), "d must be an integer from 1 to .*, got 0"),
    "nodes few": (lambda: rf.Exponential(1.0, nodes=3), "nodes must be an integer from 4 to 2048, got 3"),
    "nodes float": (lambda: rf.Exponential(1.0, nodes=32.0), "nodes must be an integer from 4 to 2048, got 32.0"),
    "rate": (lambda: rf.Exponential(0.0), "rate must be .* greater than 0, got 0.0"),
    "ratio": (lambda: rf.MarchenkoPastur(0.0), "ratio must be .* greater than 0, got 0.0"),
    "density not normalised": (
        lambda: rf.Density(lambda x: 0.25 + 0 * x, 1.0, 3.0), "pdf must integrate to 1 within 1e-06 .*, got 0.49999|got 0.5",
    ),
    "density negative": (lambda: rf.Density(lambda x: x - 1.0, 0.0, 3.0), "pdf must be at least 0, got -.* at "),
    "density infinite": (lambda: rf.Density(lambda x: np.inf * x, 0.0, 3.0), "pdf must be finite .*got inf"),
    "density of another shape": (lambda: rf.Density(lambda x: 1.0, 0.0, 1.0), r"pdf must return an array .*\(16,\), got \(\)"),
    "density no function": (lambda: rf.Density(0.5, 0.0, 2.0), "pdf must be a callable, got 0.5"),
    "density below zero": (lambda: rf.Density(lambda x: 0.5 + 0 * x, -1.0, 1.0), "0 ≤ low < high, got -1.0 and 1.0"),
    "density empty": (lambda: rf.Density(lambda x: 0.5 + 0 * x, 2.0, 1.0), "0 ≤ low < high, got 2.0 and 1.0"),
    "density exponents": (
        lambda: rf.Density(lambda x: 0.5 + 0 * x, 0.0, 2.0, exponents=(-1.0, 0.0)), "exponents must be .* greater than -1, got",
    ),
    "subspace fraction": (lambda: rf.Subspace(1.5), "fraction must be at most 1, got 1.5"),
    "subspace of two": (
        lambda: rf.Subspace(0.5, 1.0, covariance=rf.Isotropic(1.0)), "at most one of variance and covariance, got 1.0 and",
    ),
    "subspace of a number": (lambda: rf.Subspace(0.5, covariance=2.0), "covariance must be a Covariance .*, got 2.0"),
    "mixture empty": (lambda: rf.Mixture([], []), r"covariances must be a list of at least one Covariance, got \[\]"),
    "mixture of numbers": (lambda: rf.Mixture([1.0], [1.0]), "covariances must be a Covariance .*, got 1.0"),
    "mixture weights": (lambda: rf.Mixture([rf.Isotropic()], [0.5]), "weights must sum to 1, got a sum of .*0.5"),
    "mixture shapes": (lambda: rf.Mixture([rf.Isotropic()], [0.5, 0.5]), "weights must have the shape"),
    "trace": (lambda: rf.Isotropic().normalised(0.0), "trace must be .* greater than 0, got 0.0"),
    "polynomial constant": (lambda: rf.Polynomial([1.0, 0.0]), "activation must not be constant"),
    "polynomial degree": (lambda: rf.Polynomial(np.ones(40)), "coefficients must be .* degree from 1 to 32, got 40 of them"),
    "polynomial nan": (lambda: rf.Polynomial([1.0, np.nan]), "coefficients must be .*, got nan"),
    "table times": (lambda: rf.constants_table(0.1), r"ts must be a one-dimensional array .*, got shape \(\)"),
    "table negative time": (lambda: rf.constants_table([-0.1]), "t must be .* greater than 0, got -0.1"),
    "table names": (lambda: rf.constants_table([0.1], ["erf", "erf"]), "activations must have different names"),
    "outlier without a mean": (lambda: rf.mean_outlier(MODEL, 10), r"activation must have a mean .* E\[σ\(Γz\)\] = 0 from 'tanh'"),
    "outlier dimension": (lambda: rf.mean_outlier(MODEL, 0), "d must be .* greater than 0, got 0"),
    "activation name": (
        lambda: rf.RandomFeatureModel(1.0, 1.0, 0.1, activation="tan"), "activation must be one of erf, .*; got 'tan'",
    ),
    "activation number": (
        lambda: rf.RandomFeatureModel(1.0, 1.0, 0.1, activation=3), "activation must be a name or a callable, got 3",
    ),
    "activation nan": (
        lambda: rf.RandomFeatureModel(1.0, 1.0, 0.1, activation=lambda x: jnp.sqrt(x)),
        "activation must be finite on .*, got nan at -6",
    ),
    "activation constant": (
        lambda: rf.RandomFeatureModel(1.0, 1.0, 0.1, activation=lambda x: 0 * x + 2.0), "must not be constant .*got 2",
    ),
    "activation numpy": (
        lambda: rf.RandomFeatureModel(1.0, 1.0, 0.1, activation=lambda x: np.tanh(np.asarray(x))),
        "written with jax.numpy",
    ),
    "activation shape": (
        lambda: rf.RandomFeatureModel(1.0, 1.0, 0.1, activation=lambda x: jnp.sum(x)), "real array of its shape",
    ),
    "activation moment": (
        lambda: rf.RandomFeatureModel(1.0, 1.0, 0.1, activation=lambda x: jnp.exp(x**2 / 3)),
        r"finite second moment .* diverging E\[σ²\]",
    ),
    "z text": (lambda: rf.solve(MODEL, "z"), "z must be a complex number"),
    "z object": (lambda: rf.solve(MODEL, None), "z must be a complex number"),
    "stieltjes on the support": (lambda: rf.spectrum(MODEL).stieltjes(1.0), "z must lie off the support .*got 1 on it"),
    "stieltjes nan": (lambda: rf.spectrum(MODEL).stieltjes(np.nan), "z must be finite, got"),
    "stieltjes on the atom": (
        lambda: (sp := rf.spectrum(MODEL)).stieltjes(float(sp.atom.location)), "z must lie off the support .*and the atom",
    ),
    "density text": (lambda: rf.spectrum(MODEL).density("x"), "x must be finite real numbers"),
    "density nan": (lambda: rf.spectrum(MODEL).density([1.0, np.nan]), "x must be finite real numbers, got nan"),
    "quantile": (lambda: rf.spectrum(MODEL).quantile([0.5, 1.5]), r"u must lie in \[0, 1\], got 1.5"),
    "moment": (lambda: rf.spectrum(MODEL).moment(1.5), "k must be an integer, got 1.5"),
    "rule": (lambda: rf.timescales(MODEL, "best"), 'rule must be one of "loss", "spectrum", "paper", got .best.'),
    "threshold": (lambda: rf.timescales(MODEL, "loss", threshold=1.0), "threshold must be between 0 and 1, got 1.0"),
    "curve at a negative time": (lambda: rf.learning_curve(MODEL, [1.0, -2.0]), "tau must be .* at least 0 .*, got -2.0"),
    "curve at nan": (lambda: rf.learning_curve(MODEL, np.nan), "tau must be .* at least 0 .*, got nan"),
    "curve at no time": (lambda: rf.learning_curve(MODEL, []), "tau must be .*, got an empty array"),
    "curve at a word": (lambda: rf.learning_curve(MODEL, "late"), "tau must be .*, got 'late'"),
    "curve with a large step": (
        lambda: rf.learning_curve(MODEL, 1.0, 1e6), r"step must be below \d+.* to be stable for this model, got 1e.06",
    ),
    "curve with a step of zero": (lambda: rf.learning_curve(MODEL, 1.0, 0.0), "step must be .* greater than 0"),
    "curve with momentum of one": (
        lambda: rf.learning_curve(MODEL, 1.0, 1.0, momentum=1.0), r"momentum must be a number in \[0, 1\), got 1.0",
    ),
    "curve with momentum alone": (
        lambda: rf.learning_curve(MODEL, 1.0, momentum=0.5), "momentum goes with a step, got momentum=0.5",
    ),
    "curve too exact": (lambda: rf.learning_curve(MODEL, 1.0, tolerance=1e-15), "tolerance must be between 1e-12 and 0.1"),
    "window": (lambda: rf.early_stopping(MODEL, 0.0), "tolerance must be .* greater than 0, got 0.0"),
    "required what": (lambda: rf.required(MODEL, "d", for_window=2.0), 'parameter must be one of "n", "p", "t", got .d.'),
    "required window": (lambda: rf.required(MODEL, "n", for_window=1.0), "for_window must be .* greater than 1, got 1.0"),
    "required time of a flow": (
        lambda: rf.required(rf.RandomFeatureModel(4.0, 2.0, process=rf.FlowMatching(0.3)), "t", for_window=2.0),
        'parameter "t" goes with an Ornstein-Uhlenbeck process, got FlowMatching',
    ),
    "exponent": (lambda: rf.score_exponent(MODEL, [1.0, 0.0]), r"psi_n must be positive finite numbers, got \[1.0, 0.0\]"),
    "diagram without cells": (lambda: rf.phase_diagram([], [1.0], 0.1), r"psi_p must be a list of numbers that is not empty"),
    "diagram of words": (lambda: rf.phase_diagram(["a"], [1.0], 0.1), "psi_p must be a list of numbers, got"),
    "diagram without time": (lambda: rf.phase_diagram([1.0], [1.0]), "t must be a list of numbers, got None"),
    "diagram before time": (lambda: rf.phase_diagram([1.0], [1.0], 0.1, [-1.0]), "tau must be .* at least 0 .*, got -1.0"),
    "diagram of a table of times": (
        lambda: rf.phase_diagram([1.0], [1.0], 0.1, [[1.0]]), r"tau must be a number or a list .* shape \(1, 1\)",
    ),
    "two points that do not broadcast": (
        lambda: rf.two_point(MODEL, [1j, 2j], [1j, 2j, 3j]), r"z1 and z2 must broadcast, got shapes \(2,\) and \(3,\)",
    ),
    "two points of text": (lambda: rf.two_point(MODEL, "a", 1j), "z1 must be a complex number"),
    "clock both": (lambda: rf.clock(MODEL, 10, steps=1, tau=1, learning_rate=1.0), "exactly one of steps and tau"),
    "clock negative": (lambda: rf.clock(MODEL, 10, steps=-1, learning_rate=1.0), "steps must be at least 0, got -1"),
    "clock rate": (lambda: rf.clock(MODEL, 10, steps=1, learning_rate=0.0), "learning_rate must be .*, got 0.0"),
    "clock convention": (
        lambda: rf.clock(MODEL, 10, steps=1, learning_rate=1.0, convention="x"), "convention must be .*, got 'x'",
    ),
    "d": (lambda: rf.empirical.sample(KEY, MODEL, 0), "d must be an integer of at least 1, got 0"),
    "d missing": (lambda: rf.empirical.sample(KEY, MODEL), "d must be an integer of at least 1, got None"),
    "d too small": (
        lambda: rf.empirical.sample(KEY, rf.RandomFeatureModel(4.0, 0.01, 0.1), 10), "n = psi_n d rounds to 0 at d = 10",
    ),
    "kind": (lambda: rf.empirical.sample(KEY, MODEL, 5, kind="x"), "kind must be one of features, gaussian, got 'x'"),
    "data rows": (lambda: rf.empirical.sample(KEY, MODEL, data=np.eye(3)), "more than n = psi_n d = 6 rows.*got 3"),
    "data vector": (lambda: rf.empirical.sample(KEY, MODEL, data=np.ones(3)), "data must be a matrix"),
    "data and d": (lambda: rf.empirical.sample(KEY, MODEL, 4, data=np.eye(3)), "d must be the number of columns"),
    "repeats": (lambda: rf.empirical.spectrum(KEY, MODEL, 4, repeats=0), "repeats must be an integer of at least 1"),
    "optimizer": (
        lambda: rf.empirical.learning_curve(KEY, MODEL, [1.0], 4, optimizer="x"), "optimizer must be one of .*, got 'x'",
    ),
    "optimizer rate": (
        lambda: rf.empirical.learning_curve(KEY, MODEL, [1.0], 4, optimizer="gd"), "learning_rate goes with",
    ),
    "tau negative": (lambda: rf.empirical.learning_curve(KEY, MODEL, [-1.0], 4), "tau must be at least 0, got -1.0"),
    "tau nan": (lambda: rf.empirical.learning_curve(KEY, MODEL, [np.nan], 4), "tau must be .*, got nan"),
    "unstable": (
        lambda: rf.empirical.gradient_descent(rf.empirical.sample(KEY, MODEL, 4), [1], 1e9),
        "learning_rate must be below .* to be stable",
    ),
    "steps": (
        lambda: rf.empirical.gradient_descent(rf.empirical.sample(KEY, MODEL, 4), [2, 1], 1.0), "steps must be ascending",
    ),
    "digits zero": (lambda: rf.algebraic.edges(MODEL, 0), "digits must be an integer from 1 to 500, got 0"),
    "digits float": (lambda: rf.algebraic.density(MODEL, 1.0, 2.5), "digits must be an integer from 1 to 500, got 2.5"),
    "digits many": (lambda: rf.algebraic.curve(MODEL, 501), "digits must be an integer from 1 to 500, got 501"),
    "digits of a constant": (lambda: rf.algebraic.constants(MODEL, True), "digits must be an integer .*, got True"),
    "digits of a certificate": (lambda: rf.certify(MODEL, 10), "digits must be at least 20 to check doubles, got 10"),
    "too many eigenvalues": (
        lambda: rf.algebraic.curve(NINE), "at most 8 distinct eigenvalues .*, got 9; rf.spectrum takes any number",
    ),
    "too many eigenvalues to certify": (lambda: rf.certify(NINE), "at most 8 distinct eigenvalues .*, got 9"),
    "continuous covariance": (
        lambda: rf.algebraic.edges(rf.RandomFeatureModel(4.0, 2.0, 0.1, covariance=Continuous())),
        "must be a list of eigenvalues, such as rf.Atoms, .* got Continuous, a continuous law; rf.spectrum takes it",
    ),
    "double precision only": (
        lambda: rf.algebraic.curve(rf.RandomFeatureModel(4.0, 2.0, 0.1, activation=jnp.cos)),
        "activation 'cos' is known in double precision only: give activation=",
    ),
    "no linear part": (
        lambda: rf.algebraic.edges(
            rf.RandomFeatureModel(4.0, 2.0, 0.1, activation=lambda x: x**2), activation=lambda x: x**2
        ),
        r"activation must have a linear part for the algebraic curve, got E\[σ'\] = 0",
    ),
    "symbols": (lambda: rf.algebraic.symbolic_curve(9), "atoms must be an integer from 1 to 8, got 9"),
    "density at a complex x": (lambda: rf.algebraic.density(MODEL, 1j), "x must be a finite real number, got 1j"),
    "density at nan": (lambda: rf.algebraic.density(MODEL, float("nan")), "x must be a finite real number, got nan"),
    "twin below the axis": (lambda: rf.algebraic.solve(MODEL, 1 - 1j), r"z must be finite with Im z ≥ 0, got \(1.0 - 1.0j\)"),
    "merging without grid": (lambda: rf.merging_lines(MODEL), "a grid for one of psi_n and psi_p and a range .* got None"),
    "merging with two grids": (
        lambda: rf.merging_lines(MODEL, psi_n=[1.0], psi_p=[2.0]), r"exactly one of psi_n and psi_p must be a range",
    ),
    "merging range": (
        lambda: rf.merging_lines(MODEL, psi_n=[1.0], psi_p=(3.0, 2.0)), r"psi_p must be a range .* got \(3.0, 2.0\)",
    ),
    "merging grid": (
        lambda: rf.merging_lines(MODEL, psi_n=[-1.0], psi_p=(1.0, 2.0)), r"psi_n must be .* greater than 0, got \[-1.0\]",
    ),
    "merging search": (
        lambda: rf.merging_lines(MODEL, psi_n=[1.0], psi_p=(1.0, 2.0), search=1), "search must be .* at least 2, got 1",
    ),
    "compare": (lambda: rf.compare(1, 2), "compare takes .*, got int and int"),
}  # fmt: skip


@pytest.mark.usefixtures("given_anything")
@pytest.mark.parametrize("name", CASES)
def test_message(name):
    call, message = CASES[name]
    with pytest.raises(ValueError, match=re.compile(message, re.DOTALL)):
        call()


def test_values_inside_a_transformation_pass_unchecked():
    f = lambda p: rf.RandomFeatureModel(p, 1.0, 0.1).psi_p
    assert float(jax.jit(f)(-1.0)) == -1.0


def test_models_are_frozen():
    with pytest.raises(AttributeError):
        MODEL.psi_p = 3.0


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = rf.nonsense
    with pytest.raises(AttributeError, match="FlowMatching has no diffusion time"):
        _ = rf.RandomFeatureModel(1.0, 1.0, process=rf.FlowMatching(0.2)).t


def test_the_ground_truth_takes_the_expectation_over_the_noise():
    model = rf.RandomFeatureModel(4.0, 2.0, 0.1, noise_draws=2)
    truth = (
        rf.algebraic.edges,
        lambda m: rf.merging_lines(m, psi_n=[2.0, 3.0], psi_p=(1.0, 9.0)),
    )
    for known in truth:
        with pytest.raises(NotImplementedError, match=r"exists for noise_draws=inf only, got 2\.0"):
            known(model)
