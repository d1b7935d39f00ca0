"""Gaussian features whose data and noise are drawn one after the other, for the target "noise".

G = κFX + vΩ of the data and bFΞ + sH of m draws of the noise, trained by diagonalising U.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray

import rfspec as rf


class Features:
    """The features of one W."""

    def __init__(self, model: rf.RandomFeatureModel, d: int, seed: int) -> None:
        self.model, self.d, self.rng = model, d, np.random.default_rng(seed)
        ge, sigma = rf.gaussian_equivalent(model), model.covariance
        self.b, self.kappa, self.v, self.s = (
            float(a) ** 0.5 for a in (ge.b2, ge.kappa2, ge.v2, ge.s2)
        )
        self.n, self.p = round(model.psi_n * d), round(model.psi_p * d)
        counts = np.round(np.asarray(sigma.weights) * d).astype(int)
        self.values = np.repeat(np.asarray(sigma.values), counts)
        self.F = self.rng.standard_normal((self.p, d)) / np.sqrt(d)

    def data(self) -> np.ndarray:
        """G of new samples, [p, n]."""
        x = np.sqrt(self.values)[:, None] * self.rng.standard_normal((self.d, self.n))
        return self.kappa * self.F @ x + self.v * self.rng.standard_normal((self.p, self.n))

    def trained(self, G: np.ndarray, taus: np.ndarray) -> list[np.ndarray]:
        """A of each time, from new draws of the noise, [p, d]."""
        m = int(self.model.noise_draws)
        xi = self.rng.standard_normal((self.d, self.n, m))
        H = self.s * self.rng.standard_normal((self.p, self.n, m))
        H += self.b * np.einsum("pd,dnm->pnm", self.F, xi)
        phi = (G[:, :, None] + H).reshape(self.p, -1)
        values, vectors = np.linalg.eigh(phi @ phi.T / (self.n * m))
        start = vectors.T @ (phi @ -xi.reshape(self.d, -1).T) / (self.n * m)
        some = values > 1e-12
        values = np.where(some, values, 1.0)
        c = np.asarray(taus) / float(self.model.time_unit)
        h = np.where(some, -np.expm1(-c[:, None] * values) / values, c[:, None])
        return [(vectors * row) @ start for row in h]

    def shared(self, A: np.ndarray, B: np.ndarray) -> float:
        """What two trainings share, Tr AᵀŨB/d."""
        noise = self.F @ (self.F.T @ B)
        data = self.F @ (self.values[:, None] * (self.F.T @ B))
        white = (self.v**2 + self.s**2) * B
        return float(np.sum(A * (self.kappa**2 * data + self.b**2 * noise + white)) / self.d)

    def slopes(self, A: np.ndarray) -> np.ndarray:
        """What is learnt of x_t, along the eigenvalues of Σ."""
        along = self.b / float(self.model.process.beta) * np.sum(self.F * A, axis=0)
        return np.array([along[self.values == x].mean() for x in np.unique(self.values)])


def score_parts(
    model: rf.RandomFeatureModel, taus: Any, d: int, *, repeats: int, seed: int
) -> xarray.Dataset:
    """bias² and variances from features, data and noise, by trainings that share W, and data."""
    of_W, of_data, of_all, slopes = [], [], [], []
    for i in range(repeats):
        features = Features(model, d, seed + i)
        G = features.data()
        one, same, other = (features.trained(g, taus) for g in (G, G, features.data()))
        shared = lambda pairs, f=features: [f.shared(a, b) for a, b in zip(*pairs, strict=True)]
        of_W.append(shared((one, other)))
        of_data.append(shared((one, same)))
        of_all.append(shared((one, one)))
        slopes.append([features.slopes(a) for a in one])
    sigma, process = model.covariance, model.process
    A = np.asarray(process.alpha**2 * sigma.values + process.beta2)
    weights, mean = np.asarray(sigma.weights) * A, np.mean(slopes, axis=0)
    bias = (mean + process.beta / A) ** 2 @ weights
    levels = [mean**2 @ weights, *(np.mean(each, axis=0) for each in (of_W, of_data, of_all))]
    parts = [bias, *np.diff(levels, axis=0)]
    names = ("bias2", "of_features", "of_data", "of_noise")
    columns = {
        name: ("tau", np.asarray(part) / float(process.beta2))
        for name, part in zip(names, parts, strict=True)
    }
    return xarray.Dataset(columns, {"tau": np.asarray(taus)})
