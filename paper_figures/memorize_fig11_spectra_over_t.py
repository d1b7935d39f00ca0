"""Fig. 11 of arXiv 2505.17638: the spectrum of U at several n and diffusion times.

Later in the diffusion noise covers the data: the sample part closes up towards the atom.
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
PSI_P = 32.0
PSI_N, T = (4.0, 16.0, 64.0), (0.01, 0.1, 0.3)
D, BINS, SEED = 30, 80, 0
FAST = {"D": 4, "BINS": 20}


def compute():
    cases = [(psi_n, t) for psi_n in PSI_N for t in T]
    models = [rf.RandomFeatureModel(PSI_P, psi_n, t) for psi_n, t in cases]
    where = {"psi_n": [n for n, _ in cases], "t": [t for _, t in cases]}
    return library.spectra_and_samples(SEED, models, where, D, BINS)


def draw(tables):
    exact, sampled = tables["exact"], tables["gaussian"]
    figure, axes = plt.subplots(len(PSI_N), len(T), figsize=(11.0, 8.0))
    panels.small_spectra(axes, exact, sampled, f"Gaussian equivalent, d = {D}")
    panels.shared_legend(figure, axes)
    for i, ax in enumerate(axes.flat):
        ax.set_title(rf"$\psi_n = {float(exact.psi_n[i]):g}$, $t = {float(exact.t[i]):g}$")
    return figure


if __name__ == "__main__":
    run(__file__)
