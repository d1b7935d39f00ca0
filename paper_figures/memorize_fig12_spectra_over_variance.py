"""Fig. 12 of arXiv 2505.17638: the spectrum of U for data of other variances.

Σ = σ_x² I, above σ_x = 2, below σ_x = 1/2, at several n.
"""

import matplotlib.pyplot as plt
import panels
import tables as library
from recipe import run

import rfspec as rf

DIFFERS = (
    "n and t are a choice; parts and atom are told apart; the samples are of the Gaussian "
    "equivalent, at d = 30, since finite features smear the atom"
)
PSI_P, T = 32.0, 0.01
SIGMA_X, PSI_N = (2.0, 0.5), (4.0, 16.0, 64.0)
D, BINS, SEED = 30, 80, 0
FAST = {"D": 4, "BINS": 20}


def compute():
    cases = [(sigma_x, psi_n) for sigma_x in SIGMA_X for psi_n in PSI_N]
    models = [
        rf.RandomFeatureModel(PSI_P, psi_n, T, covariance=rf.Isotropic(sigma_x**2))
        for sigma_x, psi_n in cases
    ]
    where = {"sigma_x": [s for s, _ in cases], "psi_n": [n for _, n in cases]}
    return library.spectra_and_samples(SEED, models, where, D, BINS)


def draw(tables):
    exact, sampled = tables["exact"], tables["gaussian"]
    figure, axes = plt.subplots(len(SIGMA_X), len(PSI_N), figsize=(11.0, 5.6))
    panels.small_spectra(axes, exact, sampled, f"Gaussian equivalent, d = {D}")
    panels.shared_legend(figure, axes)
    for i, ax in enumerate(axes.flat):
        ax.set_title(
            rf"$\sigma_x = {float(exact.sigma_x[i]):g}$, $\psi_n = {float(exact.psi_n[i]):g}$"
        )
    return figure


if __name__ == "__main__":
    run(__file__)
