"""What features trained on images measure: losses and best times, draw by draw.

Nothing here depends on a theory, so that predictions can be made anew without sampling again.
A draw is a split of the digits, or a choice of patches, with its own features. The features are
trained by exact gradient flow, with the noise integrated out.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray
from sklearn.datasets import load_sample_images

import rfspec as rf
from rfspec.cli.demo import digits
from rfspec.empirical.dynamics import eigenbasis
from rfspec.files.checkpoint import Checkpoint, fingerprint, forget, resumed
from rfspec.models.from_data import centring
from rfspec.numerics.types import Key, Matrix, Vector
from rfspec.surveys.held_out_data import EXACT, measured_best, split

Parts = tuple[Matrix, Matrix]
KINDS = ("train", "test")
# pixels of a patch's side
SIDE = 16


def digits_of(key: Key) -> Parts:
    """Four fifths of the 8×8 digits to train on, and one fifth to test on."""
    return split(key, digits(), 0.2, None)


def patches_of(count: int) -> Callable[[Key], Parts]:
    """A function of a key: as many grey patches to train as to test on, half from each photograph.

    Each patch is without its own mean. They are scaled so that Tr Σ/d = 1.
    """

    def parts(key: Key) -> Parts:
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        drawn = np.concatenate([_patches(image, count, rng) for image in _photographs()])
        X = rng.permutation(drawn - drawn.mean(axis=1, keepdims=True))
        centred = centring(X[:count], 1.0)
        return centred(X[:count]), centred(X[count:])

    return parts


def measured(
    parts: Callable[[Key], Parts],
    activations: Sequence[str],
    times: Sequence[float],
    psi_p: float,
    tau: Vector,
    draws: int,
    state: Path,
    gaussian: bool = False,
) -> xarray.Dataset:
    """Losses at the times τ, and the best time with its loss, of all draws.

    With `gaussian` also the losses on as many Gaussian samples of the training part's covariance.
    What is done is kept in files that begin with `state`.
    """
    cases = list(itertools.product(activations, times, range(draws)))
    identity = fingerprint(state.name, *map(str, (activations, times, psi_p, draws)), tau)
    file = state.with_name(f"{state.name}.{identity[:8]}")

    def once(i: int) -> dict[str, Any]:
        activation, t, seed = cases[i]
        key = jax.random.key(seed)
        train, test = parts(key)
        model = model_of(train, activation, t, psi_p, nodes=None)
        found = _of_data(key, model, train, test, tau)
        return found | (_of_gaussian_data(key, model, train.shape[1], tau) if gaussian else {})

    found = resumed(len(cases), once, Checkpoint(file, identity))
    forget(file)
    return stacked(found, activations, times, draws, tau)


def model_of(
    train: Matrix, activation: str, t: float, psi_p: float, nodes: int | None = 32
) -> rf.RandomFeatureModel:
    """The model of a training part in the limit; its covariance has that many nodes, or all."""
    law, psi_n = rf.FromData(train, nodes=nodes), len(train) / train.shape[1]
    return rf.RandomFeatureModel(psi_p, psi_n, t, activation=activation, covariance=law)


def stacked(
    found: Sequence[dict[str, Any]],
    activations: Sequence[str],
    times: Sequence[float],
    draws: int,
    tau: Vector,
) -> xarray.Dataset:
    """Numbers and curves of all cases, activation by activation, time by time, draw by draw."""
    dims, grid = ("activation", "t", "draw", "tau"), (len(activations), len(times), draws)
    columns = {name: np.stack([case[name] for case in found]) for name in found[0]}
    return xarray.Dataset(
        {
            name: (dims[: 2 + values.ndim], values.reshape(*grid, *values.shape[1:]))
            for name, values in columns.items()
        },
        {"activation": list(activations), "t": list(times), "draw": range(draws), "tau": tau},
    )


def _of_data(
    key: Key, model: rf.RandomFeatureModel, train: Matrix, test: Matrix, tau: Vector
) -> dict[str, Any]:
    # the key of the features is another one than that of the split
    features = jax.random.split(key)[1]
    matrices = rf.empirical.sample(features, model, data=train, held_out=test, tolerance=EXACT)
    basis = eigenbasis(matrices)
    curve = rf.empirical.gradient_flow(basis, tau)
    best, lowest, _ = measured_best(basis)
    return _losses("data", curve) | {"data_best_tau": best, "data_best_test": lowest}


def _of_gaussian_data(
    key: Key, model: rf.RandomFeatureModel, d: int, tau: Vector
) -> dict[str, Any]:
    matrices = rf.empirical.sample(key, model, d, tolerance=EXACT)
    return _losses("gaussian", rf.empirical.gradient_flow(matrices, tau))


def _losses(who: str, curve: rf.LearningCurve) -> dict[str, Any]:
    return {f"{who}_{kind}": np.asarray(getattr(curve, kind)) for kind in KINDS}


def _photographs() -> list[Matrix]:
    return [np.asarray(image, float).mean(axis=2) for image in load_sample_images().images]


def _patches(image: Matrix, count: int, rng: np.random.Generator) -> Matrix:
    corners = [rng.integers(0, size - SIDE + 1, count) for size in image.shape]
    return np.stack(
        [image[i : i + SIDE, j : j + SIDE].ravel() for i, j in zip(*corners, strict=True)]
    )
