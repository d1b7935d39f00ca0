"""What the figures show, as tables: answers of the library along one parameter.

Each table has a first dimension, named and valued by its caller, along which the models lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import xarray

import rfspec as rf

Models = Sequence[rf.RandomFeatureModel]
Along = tuple[str, Sequence[float]]
LOSSES = ("train", "test", "score_error")
TIMES = ("tau_gen", "tau_mem")
# codes of the parts of a spectrum: 0 between them, the last for merged ones
PARTS = ("gap", "satellite", "sample", "population", "merged")


def spectra(models: Models, along: Along, points: int = 200) -> xarray.Dataset:
    """Densities as lines, bulk after bulk with their parts and a gap between them; the atoms."""
    found = [rf.spectrum(model) for model in models]
    rows = max(len(sp.bulks) for sp in found) * (points + 1)
    eigenvalue, mass = np.full((2, len(found), rows), np.nan)
    part = np.zeros((len(found), rows), dtype=np.int8)
    for i, sp in enumerate(found):
        for k, bulk in enumerate(sp.bulks):
            x = rf.plotting.inside(float(bulk.lower), float(bulk.upper), points)
            here = slice(k * (points + 1), k * (points + 1) + x.size)
            eigenvalue[i, here], mass[i, here] = x, x * np.asarray(sp.density(x))
            part[i, here] = PARTS.index(bulk.part if bulk.part in PARTS else "merged")
    name, values = along
    codes = {"flag_values": np.arange(len(PARTS)), "flag_meanings": "; ".join(PARTS)}
    return xarray.Dataset(
        {
            "eigenvalue": ((name, "point"), eigenvalue),
            "mass_per_log": ((name, "point"), mass, {"long_name": "λρ(λ)"}),
            "part": ((name, "point"), part, codes),
            "atom": ((name,), [float(sp.atom.location) for sp in found]),
            "atom_mass": ((name,), [float(sp.atom.mass) for sp in found]),
        },
        {name: list(values), "point": np.arange(rows)},
    )


def histograms(
    sampled: Sequence[rf.empirical.EmpiricalSpectrum], along: Along, bins: int = 80
) -> Any:
    """Eigenvalues of samples as mass per unit of ln λ, in bins even in ln λ."""
    edges, heights = np.empty((len(sampled), bins + 1)), np.empty((len(sampled), bins))
    for i, sample in enumerate(sampled):
        values = np.ravel(sample.eigenvalues)
        values = values[values > 0]
        edges[i] = np.geomspace(values.min() * 0.999, values.max() * 1.001, bins + 1)
        heights[i] = sample.histogram(edges[i]) * np.diff(edges[i]) / np.diff(np.log(edges[i]))
    name, values = along
    return xarray.Dataset(
        {
            "lower": ((name, "bin"), edges[:, :-1]),
            "upper": ((name, "bin"), edges[:, 1:]),
            "mass_per_log": ((name, "bin"), heights, {"long_name": "λρ(λ)"}),
        },
        {name: list(values), "bin": np.arange(bins)},
    )


def losses(models: Models, along: Along, tau: Any) -> xarray.Dataset:
    """Exact losses at the times τ, with τ_gen, τ_mem of the rule "loss" and the stopping window."""
    curves = [rf.learning_curve(model, tau) for model in models]
    stops = [rf.early_stopping(model) for model in models]
    times = [rf.timescales(model) for model in models]
    name, values = along
    return xarray.Dataset(
        {kind: ((name, "tau"), [np.asarray(getattr(c, kind)) for c in curves]) for kind in LOSSES}
        | {kind: ((name,), [float(getattr(t, kind)) for t in times]) for kind in TIMES}
        | {
            "tau_star": ((name,), [float(s.tau) for s in stops]),
            "test_star": ((name,), [float(s.test) for s in stops]),
            "window_lower": ((name,), [float(s.window.lower) for s in stops]),
            "window_upper": ((name,), [float(s.window.upper) for s in stops]),
        },
        {name: list(values), "tau": np.asarray(tau)},
    )


def sampled_losses(
    seed: int, models: Models, along: Along, tau: Any, d: int, **how: Any
) -> xarray.Dataset:
    """Losses of sampled matrices at the times τ, means over draws, with standard errors."""
    curves = [
        rf.empirical.learning_curve(jax.random.key(seed), model, tau, d, **how) for model in models
    ]
    name, values = along
    mean = {
        kind: ((name, "tau"), [np.asarray(getattr(c, kind)) for c in curves]) for kind in LOSSES
    }
    error = {
        f"{kind}_error": (
            (name, "tau"),
            [np.broadcast_to(getattr(c.standard_error, kind), np.shape(tau)) for c in curves],
        )
        for kind in LOSSES
    }
    return xarray.Dataset(mean | error, {name: list(values), "tau": np.asarray(tau)})


def optimizers(
    seed: int, models: Models, along: Along, tau_per_n: Any, d: int, **how: Any
) -> xarray.Dataset:
    """Generalisation gap of trained samples at the times τ = n times those given, with its errors.

    Of methods that end where gradient flow does, the gap is a share of its limit τ → ∞ too.
    """
    gap, error, limit = np.full((3, len(models), np.size(tau_per_n)), np.nan)
    for i, model in enumerate(models):
        key, n = jax.random.key(seed), float(model.psi_n) * d
        curve = rf.empirical.learning_curve(key, model, n * np.asarray(tau_per_n), d, **how)
        gap[i], error[i] = curve.gap, np.hypot(*curve.standard_error[:2])
        if how["optimizer"] in ("gd", "momentum", "nesterov"):
            flow = {"rows": how["rows"], "repeats": how["repeats"]}
            limit[i] = float(rf.empirical.learning_curve(key, model, [1e12], d, **flow).gap[0])
    name, values = along
    columns = {"gap": gap, "gap_error": error, "share": gap / limit, "share_error": error / limit}
    return xarray.Dataset(
        {column: ((name, "tau_per_n"), numbers) for column, numbers in columns.items()},
        {name: list(values), "tau_per_n": np.asarray(tau_per_n)},
    )


def score_exponents(models: Models, along: Along, psi_n: Any) -> xarray.Dataset:
    """Smallest exact score error over training against ψ_n, its running exponent and its limit."""
    found = [rf.score_exponent(model, psi_n) for model in models]
    name, values = along
    return xarray.Dataset(
        {
            "score_error": ((name, "psi_n"), [np.asarray(f.score_error) for f in found]),
            "exponent": ((name, "psi_n"), [np.asarray(f.exponent) for f in found]),
            "floor": ((name,), [float(f.floor) for f in found]),
        },
        {name: list(values), "psi_n": np.asarray(psi_n)},
    )


def sampled_best(
    seed: int, models: Models, along: Along, d: int, repeats: int, **how: Any
) -> xarray.Dataset:
    """Smallest score error over training of each sample: mean over draws with standard error."""
    best = np.empty((len(models), repeats))
    for i, model in enumerate(models):
        tau = float(rf.early_stopping(model).tau) * np.geomspace(0.3, 3.0, 25)
        for j, key in enumerate(jax.random.split(jax.random.key(seed), repeats)):
            curve = rf.empirical.learning_curve(key, model, tau, d, **how)
            best[i, j] = np.min(curve.score_error)
    name, values = along
    error = np.std(best, axis=1, ddof=1) / np.sqrt(repeats)
    return xarray.Dataset(
        {"score_error": ((name,), best.mean(axis=1)), "score_error_error": ((name,), error)},
        {name: list(values)},
    )


def sampled_gaps(seed: int, psi_p: Any, psi_n: Any, t: float, tau: Any, d: int, **how: Any) -> Any:
    """L_gen = L_test - L_train of one sample of each model of a grid."""
    gap = np.empty((len(tau), len(psi_p), len(psi_n)))
    for i, p in enumerate(psi_p):
        for j, n in enumerate(psi_n):
            model = rf.RandomFeatureModel(p, n, t)
            key = jax.random.fold_in(jax.random.key(seed), i * len(psi_n) + j)
            gap[:, i, j] = rf.empirical.learning_curve(key, model, np.asarray(tau), d, **how).gap
    return xarray.Dataset(
        {"gap": (("tau", "psi_p", "psi_n"), gap, {"long_name": "L_test - L_train"})},
        {"tau": list(tau), "psi_p": list(psi_p), "psi_n": list(psi_n)},
    )


def spectra_and_samples(
    seed: int, models: Models, where: dict[str, Sequence[float]], d: int, bins: int
) -> dict[str, xarray.Dataset]:
    """Exact densities and histograms of the Gaussian equivalent, along cases with coordinates."""
    along = ("case", range(len(models)))
    keys = jax.random.split(jax.random.key(seed), len(models))
    sampled = [
        rf.empirical.spectrum(key, model, d, kind="gaussian")
        for key, model in zip(keys, models, strict=True)
    ]
    coordinates = {name: ("case", list(values)) for name, values in where.items()}
    return {
        "exact": spectra(models, along).assign_coords(coordinates),
        "gaussian": histograms(sampled, along, bins).assign_coords(coordinates),
    }
