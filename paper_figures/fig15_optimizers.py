"""Fig. 15 of arXiv 2505.17638: memorisation takes a time proportional to n, whatever the method.

t = 0.01, ψ_p = 64. The generalisation gap of sampled features over τ/n under gradient descent,
heavy-ball momentum and Adam, for ψ_n = 4, 8, 16. The first two are exact at every step from one
eigendecomposition, and their gap is a share of its limit τ → ∞; Adam takes its steps, ends
elsewhere, and its gap is shown as it is. The band is one standard error over the draws.
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
PSI_N = (4.0, 8.0, 16.0)
METHODS = {  # learning rate, and the span of τ/n for ψ_n = 1
    "gd": (30.0, 3e2, 1e5),
    "momentum": (3.0, 3e1, 1e4),
    "adam": (0.02, 3e-3, 0.2),
}
TITLES = {"gd": "gradient descent", "momentum": "heavy ball, μ = 0.9", "adam": "Adam"}


def main(d: int = 12, repeats: int = 3) -> None:
    table = {}
    with rf.plotting.style():
        figure, axes = plt.subplots(1, 3, figsize=(11.0, 3.6))
        for ax, (method, (rate, first, last)) in zip(axes, METHODS.items(), strict=True):
            for i, psi_n in enumerate(PSI_N):
                model = rf.RandomFeatureModel(64.0, psi_n, 0.01)
                tau = psi_n * np.geomspace(first, last, 25)
                curve = rf.empirical.learning_curve(
                    jax.random.key(0), model, tau, d, optimizer=method, learning_rate=rate,
                    rows="spherical",
                    repeats=repeats, progress=True,
                )  # fmt: skip
                end = 1.0
                if method != "adam":
                    limit = rf.empirical.learning_curve(
                        jax.random.key(0), model, [1e12], d, rows="spherical", repeats=repeats
                    )
                    end = float(limit.gap[0])
                x, gap = np.asarray(curve.tau) / (psi_n * d), np.asarray(curve.gap / end)
                error = np.hypot(*(np.asarray(e / end) for e in curve.standard_error[:2]))
                color = plt.get_cmap("viridis")(0.85 * i / (len(PSI_N) - 1))
                ax.plot(x, gap, color=color, label=rf"$\psi_n = {psi_n:g}$")
                ax.fill_between(x, gap - error, gap + error, color=color, alpha=0.25, lw=0)
                table |= {
                    f"{method}_{psi_n:g}_tau_over_n": x,
                    f"{method}_{psi_n:g}_{'gap' if method == 'adam' else 'gap_over_limit'}": gap,
                }
            ax.set_xscale("log")
            ax.set_ylim(0.0, 3.0 if method == "adam" else 0.5)
            ax.set_xlabel(r"$\tau/n$, $\tau = k\eta/d^2$")
            ax.set_title(TITLES[method], loc="left")
            ax.set_ylabel("gap" if method == "adam" else "gap over its limit")
        axes[0].legend()
        write_figure(OUT / "fig15_optimizers.png", figure)
    plt.close(figure)
    write_csv(OUT / "fig15_optimizers.csv", table)
    print(f"written to {OUT / 'fig15_optimizers.png'}")


if __name__ == "__main__":
    main()
