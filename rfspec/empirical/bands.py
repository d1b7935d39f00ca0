"""Densities by kernels, and how they scatter over repeated draws of a matrix."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
from scipy.special import ndtri, stdtrit

from ..files.tables import in_brief
from ..numerics.checks import random_key
from ..numerics.types import Given, Reals, Vector

CHUNK = 2**22  # kernel values held at one time


class Band(NamedTuple):
    """A confidence band, point by point.

    Attributes
    ----------
    lower, upper : array
        Of the shape of the estimate, and in its unit.
    """

    lower: Vector
    upper: Vector

    def __repr__(self) -> str:
        return in_brief(self)


def standard_error(each: np.ndarray) -> Reals:
    # of the mean over the first axis
    if len(each) < 2:
        return np.full(np.shape(each)[1:], np.nan)
    return np.std(each, axis=0, ddof=1) / np.sqrt(len(each))


def kernels(x: np.ndarray, centers: np.ndarray, h: float) -> np.ndarray:
    # Σ_i N(x; centers_i, h²)
    total = np.zeros(x.size)
    for some in np.array_split(centers, 1 + x.size * centers.size // CHUNK):
        total += np.exp(-0.5 * ((x[:, None] - some) / h) ** 2).sum(axis=1)
    return total / (np.sqrt(2 * np.pi) * h)


def silverman(logs: np.ndarray, lower: float, upper: float) -> float:
    # width of the kernel for one bulk
    scale = 0.0
    if logs.size > 1:
        quartiles = np.quantile(logs, [0.25, 0.75])
        scale = min(float(np.std(logs)), float(quartiles[1] - quartiles[0]) / 1.34)
    if scale <= 0:
        # too few eigenvalues tell none: a quarter of the theory's bulk, as of a semicircle
        scale = np.log(upper / lower) / 4 if lower > 0 else 1.0
    return float(0.9 * scale * max(logs.size, 1) ** -0.2)


def bootstrap(each: np.ndarray, level: float, key: Given, resamples: int) -> Band:
    # of the mean over the first axis
    repeats, tail = len(each), (1 - level) / 2
    key = random_key("key", 0 if key is None else key)
    drawn = np.asarray(jax.random.randint(key, (resamples, repeats), 0, repeats))
    weights = np.stack([np.bincount(row, minlength=repeats) for row in drawn]) / repeats
    means = np.tensordot(weights, each, axes=1)
    stretch = np.sqrt(repeats / (repeats - 1)) * stdtrit(repeats - 1, tail) / ndtri(tail)
    center = each.mean(axis=0)
    lower, upper = (
        center + stretch * (np.quantile(means, q, axis=0) - center) for q in (tail, 1 - tail)
    )
    return Band(np.maximum(lower, 0.0), upper)
