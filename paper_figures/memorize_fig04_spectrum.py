"""Fig. 4 of arXiv 2505.17638, middle and right: the spectrum of U and its parts.

Above Σ = I, below eigenvalues 1/2 and 3/2 of Σ in equal shares. Left one ψ_n over sampled
matrices, with the satellite, which the paper's theorem lumps with the sample bulk. Right several
ψ_n: the population stays, the sample and the satellite move with n.
"""

import jax
import matplotlib.pyplot as plt
import panels
import tables as library
from recipe import run

import rfspec as rf

DIFFERS = (
    "the satellite and the atom are told apart; the samples are of the Gaussian equivalent, beside "
    "tanh features, since those smear the atom at finite d"
)
PSI_P, T = 64.0, 0.01
SHOWN = 8.0
PSI_N = (4.0, 8.0, 16.0, 32.0)
COVARIANCES = {"identity": ((1.0,), (1.0,)), "two": ((0.5, 1.5), (0.5, 0.5))}
D, BINS, SEED = 30, 80, 0
FAST = {"D": 6, "BINS": 20}


def compute():
    made = {}
    for name, atoms in COVARIANCES.items():
        model = rf.RandomFeatureModel(PSI_P, SHOWN, T, covariance=rf.Atoms(*atoms))
        models = [model.replace(psi_n=psi_n) for psi_n in PSI_N]
        made[name] = library.spectra(models, ("psi_n", PSI_N))
        for i, kind in enumerate(("gaussian", "features")):
            key = jax.random.key(SEED + i)
            sampled = rf.empirical.spectrum(key, model, D, kind=kind)
            made[f"{name}_{kind}"] = library.histograms([sampled], ("psi_n", [SHOWN]), BINS)
    return made


TITLES = {"identity": r"$\Sigma = I$", "two": r"$\Sigma$: 1/2 and 3/2"}


def draw(tables):
    figure, axes = plt.subplots(2, 2, figsize=(10.0, 7.2))
    for name, (left, right) in zip(COVARIANCES, axes, strict=True):
        gaussian = tables[f"{name}_gaussian"].sel(psi_n=SHOWN)
        panels.histogram(left, gaussian, f"Gaussian equivalent, d = {D}")
        features = tables[f"{name}_features"].sel(psi_n=SHOWN)
        panels.histogram(left, features, f"tanh features, d = {D}", fill=False)
        panels.parts(left, tables[name].sel(psi_n=SHOWN))
        left.set_ylim(0, 0.19)
        color = rf.plotting.COLORS["satellite"]
        arrow = {"arrowstyle": "-", "color": color}
        left.annotate("satellite", (4.3e-3, 0.0185), (0.01, 0.055), color=color, arrowprops=arrow)
        left.set_title(rf"{TITLES[name]}, $\psi_p = {PSI_P:g}$, $\psi_n = {SHOWN:g}$, $t = {T:g}$")
        left.legend(loc="upper right")
        panels.family(right, tables[name], [rf"$\psi_n = {psi_n:g}$" for psi_n in PSI_N])
        right.set_title(f"{TITLES[name]}, the population stays, the rest moves with n")
        right.legend()
    return figure


if __name__ == "__main__":
    run(__file__)
