"""Fig. 4 of arXiv 2505.17638, middle and right panel: the density of U at ψ_p = 64, t = 0.01.

Left: ψ_n = 8 over the eigenvalues of a sampled Gaussian-equivalent matrix and of tanh features,
with the satellite, which the paper's theorem lumps with the sample bulk, marked. Right: ψ_n = 4, 8,
16, 32; the population bulk stays, the sample bulk moves with n.
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
PSI_N = (4.0, 8.0, 16.0, 32.0)


def lines(sp: rf.Spectrum) -> tuple[np.ndarray, np.ndarray]:
    """λ and λρ(λ) on all bulks, with a NaN between them."""
    parts = [
        np.append(rf.plotting.inside(float(b.lower), float(b.upper), 300), np.nan) for b in sp.bulks
    ]
    x = np.concatenate(parts)
    known = np.isfinite(x)
    y = np.full(x.shape, np.nan)
    y[known] = x[known] * np.asarray(sp.density(x[known]))
    return x, y


def middle_panel(ax: plt.Axes, d: int) -> None:
    """ψ_n = 8 over samples, with the satellite marked."""
    model = rf.RandomFeatureModel(64.0, 8.0, 0.01)
    sp = rf.spectrum(model)
    sampled = rf.empirical.spectrum(jax.random.key(0), model, d, kind="gaussian")
    features = rf.empirical.spectrum(jax.random.key(1), model, d)
    rf.plotting.spectrum(sp, ax, empirical=sampled, bins=90)
    values = np.ravel(features.eigenvalues)
    edges = np.geomspace(values.min(), values.max() * 1.001, 60)
    shares = np.histogram(values, edges)[0] / values.size / np.diff(np.log(edges))
    ax.stairs(shares, edges, color="0.45", lw=0.8, label=f"tanh features, d = {d}")
    satellite = sp.bulks[0]
    color = rf.plotting.COLORS["satellite"]
    ax.annotate(
        "satellite",
        (float(np.sqrt(satellite.lower * satellite.upper)), 0.02),
        xytext=(0.011, 0.055),
        color=color,
        arrowprops={"arrowstyle": "-", "color": color},
    )
    ax.set_ylim(0, 0.19)
    ax.legend(loc="upper right")
    ax.set_title(r"$\psi_p = 64$, $\psi_n = 8$, $t = 0.01$", loc="left")


def right_panel(ax: plt.Axes) -> dict[str, np.ndarray]:
    """Four ψ_n; returns the lines."""
    table = {}
    for i, psi_n in enumerate(PSI_N):
        x, y = lines(rf.spectrum(rf.RandomFeatureModel(64.0, psi_n, 0.01)))
        ax.plot(
            x,
            y,
            color=plt.get_cmap("viridis")(0.85 * i / (len(PSI_N) - 1)),
            label=rf"$\psi_n = {psi_n:g}$",
        )
        table |= {f"lambda_psi_n_{psi_n:g}": x, f"lambda_density_psi_n_{psi_n:g}": y}
    ax.set_xscale("log")
    ax.set_ylim(0, None)
    ax.set_xlabel(r"eigenvalue $\lambda$ of $U$")
    ax.set_ylabel(r"$\lambda\,\rho(\lambda)$")
    ax.set_title("sample and satellite move with n, the population stays", loc="left")
    ax.legend()
    return table


def main(d: int = 30) -> None:
    with rf.plotting.style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(10.0, 3.8))
        middle_panel(left, d)
        table = right_panel(right)
        write_figure(OUT / "fig4_spectrum.png", figure)
    write_csv(OUT / "fig4_spectrum.csv", table)
    print(f"written to {OUT / 'fig4_spectrum.png'}")


if __name__ == "__main__":
    main()
