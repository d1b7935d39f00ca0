"""Fig. 13 of arXiv 2505.17638: the smallest score error over training against ψ_n,
and its running exponent.

t = 0.01. The paper fits ψ_n^{-0.59} to simulations at ψ_p = 32. The exact curves have no power law:
the exponent runs, steepens with ψ_p, and returns to 0 where the features set the floor.
"""

from pathlib import Path

import jax
import matplotlib as mpl
import numpy as np

import rfspec as rf
from rfspec.files.io import write_csv, write_figure

mpl.use("Agg")

import matplotlib.pyplot as plt

OUT = Path(__file__).parent.parent / "results" / "figures"
PSI_P = (8.0, 32.0, 128.0, 1000.0)
PAPER = -0.59


def main(points: int = 61, d: int = 16, repeats: int = 4) -> None:
    psi_n, table = np.geomspace(1.0, 4096.0, points), {}
    measured_n = np.array([4.0, 8.0, 16.0, 32.0])
    with rf.plotting.style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(10.0, 3.8))
        for i, psi_p in enumerate(PSI_P):
            found = rf.score_exponent(rf.RandomFeatureModel(psi_p, 1.0, 0.01), psi_n)
            color = plt.get_cmap("viridis")(0.85 * i / (len(PSI_P) - 1))
            left.plot(psi_n, found.score_error, color=color, label=rf"$\psi_p = {psi_p:g}$")
            left.axhline(float(found.floor), color=color, ls=":", lw=0.8)
            right.plot(psi_n, found.exponent, color=color)
            table |= {
                f"score_error_{psi_p:g}": found.score_error,
                f"exponent_{psi_p:g}": found.exponent,
            }
        best = [lowest(n, d, repeats) for n in measured_n]
        left.errorbar(
            measured_n, [m for m, _ in best], [e for _, e in best], fmt="o", ms=4, color="black",
            mfc="none",
            label=rf"tanh features, $\psi_p = 32$, $d = {d}$",
        )  # fmt: skip
        reference = rf.score_exponent(rf.RandomFeatureModel(32.0, 1.0, 0.01), [16.0])
        guide = float(reference.score_error[0]) * (psi_n / 16.0) ** PAPER
        shown = (psi_n > 4) & (psi_n < 128)
        left.plot(psi_n[shown], 1.5 * guide[shown], "k--", lw=0.9, label=r"$\psi_n^{-0.59}$")
        right.axhline(PAPER, color="black", ls="--", lw=0.9, label="fit of the paper")
        left.set_xscale("log")
        left.set_yscale("log")
        right.set_xscale("log")
        left.set_ylabel(r"$\min_\tau E_\mathrm{score}$")
        right.set_ylabel(r"$d\log \min_\tau E_\mathrm{score}\,/\,d\log \psi_n$")
        for ax in (left, right):
            ax.set_xlabel(r"$\psi_n = n/d$")
            ax.legend()
        write_figure(OUT / "fig13_score_exponent.png", figure)
    plt.close(figure)
    write_csv(OUT / "fig13_score_exponent.csv", {"psi_n": psi_n, **table})
    print(f"written to {OUT / 'fig13_score_exponent.png'}")


def lowest(psi_n: float, d: int, repeats: int) -> tuple[float, float]:
    """Smallest score error of sampled tanh features on a grid of times, with standard error."""
    model = rf.RandomFeatureModel(32.0, psi_n, 0.01)
    tau = float(rf.early_stopping(model).tau) * np.geomspace(0.3, 3.0, 25)
    keys = jax.random.split(jax.random.key(0), repeats)
    found = [
        float(np.min(rf.empirical.learning_curve(key, model, tau, d).score_error)) for key in keys
    ]
    return float(np.mean(found)), float(np.std(found, ddof=1) / np.sqrt(repeats))


if __name__ == "__main__":
    main()
