"""Estimates from the Gauss quadratures of several probes: values, and what they leave open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..files.tables import in_brief
from ..numerics.types import Reals
from .lanczos import jackson

POINTS = 1024  # values of x worked on together


class Estimate(NamedTuple):
    """A value and its error.

    Attributes
    ----------
    value, error : float or array of the argument's shape
        In the same unit. The error is one standard error over the probes plus what the quadrature
        leaves open.
    """

    value: Reals
    error: Reals

    def __repr__(self) -> str:
        return in_brief(self)


def estimate(each: np.ndarray, left_open: Reals) -> Estimate:
    # `each` has the probes first
    standard_error = np.std(each, axis=0, ddof=1) / np.sqrt(each.shape[0])
    return Estimate(np.mean(each, axis=0), standard_error + left_open)


def in_parts(x: np.ndarray, f: Callable[..., Any]) -> Estimate:
    # f of many x, a limited number at a time, in the shape of x
    flat = x.ravel()
    parts = [f(flat[i : i + POINTS]) for i in range(0, max(1, flat.size), POINTS)]
    return Estimate(
        *(np.concatenate(column).reshape(x.shape) for column in zip(*parts, strict=True))
    )


def log_normal(nodes: np.ndarray, weights: np.ndarray, x: np.ndarray, width: float) -> np.ndarray:
    # ρ_w(x) of each quadrature, shape (probes, x.size)
    log_nodes = np.log(np.maximum(nodes, np.finfo(float).tiny))
    distances = (np.log(x)[:, None] - log_nodes[:, None]) / width
    return np.einsum("kxj,kj->kx", np.exp(-(distances**2) / 2), weights) / (
        np.sqrt(2 * np.pi) * width * x
    )


class Chebyshev(NamedTuple):
    """Series in T_k((λ - center)/half) of each probe; the moments have shape (probes, count)."""

    center: float
    half: float
    moments: np.ndarray

    def density(self, x: np.ndarray) -> np.ndarray:
        # damped by the Jackson kernel, shape (probes, x.size)
        k, y = np.arange(self.moments.shape[1]), (x - self.center) / self.half
        terms = np.where(k == 0, 1.0, 2.0) * jackson(k.size) * self.moments
        inside = np.abs(y) < 1
        y = np.where(inside, y, 0.0)
        series = inside * (terms @ np.cos(k[:, None] * np.arccos(y)))
        return series / (np.pi * self.half * np.sqrt(1 - y**2))


def chebyshev(nodes: np.ndarray, weights: np.ndarray) -> Chebyshev:
    low, high = float(np.min(nodes)), float(np.max(nodes))
    half = 0.51 * (high - low) + 1e-12 * abs(high)
    center = (low + high) / 2
    angles, count = np.arccos((nodes - center) / half), 2 * nodes.shape[1]
    moments = [np.sum(weights * np.cos(k * angles), axis=1) for k in range(count)]
    return Chebyshev(center, half, np.stack(moments, axis=1))
