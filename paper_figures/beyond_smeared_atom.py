"""The smeared atom: sampled spectra at d = 40, their limit, and the equations at finite d.

In the limit all features of high Hermite degree are one atom. At finite d they are a bulk, from
which little is left to the part that the satellite is.
"""

import jax
import matplotlib.pyplot as plt
import numpy as np
import panels
import xarray
from recipe import run

import rfspec as rf

DIFFERS = "not in a paper: the density at finite d, where the theory of the limit has an atom"
PSI_P, PSI_N, D, T = 64.0, 8.0, 40, 0.01
MATRICES, SEED = 3, 0
# of the smoothing with which densities are compared, in ln λ
HALF_WIDTH = 0.08
POINTS, BINS = 1200, 90
# of the grid beyond the sampled eigenvalues, in ln λ
MARGIN = 1.0
FAST = {"PSI_P": 16.0, "PSI_N": 4.0, "D": 20, "MATRICES": 1, "POINTS": 300}


def compute():
    model = rf.RandomFeatureModel(PSI_P, PSI_N, T)
    sampled = rf.empirical.spectrum(
        jax.random.key(SEED), model, D, kind="features", repeats=MATRICES
    )
    values = np.sort(np.ravel(sampled.eigenvalues))
    ends = np.log(values[0]) - MARGIN, np.log(values[-1]) + MARGIN
    y = np.linspace(*ends, POINTS)
    spectra = {"limit": rf.spectrum(model), "finite d": rf.spectrum(model.replace(d=D))}
    lines = xarray.Dataset(
        {
            "mass_per_log": (("theory", "eigenvalue"), [mass_of(sp, y) for sp in spectra.values()]),
            "smoothed": (("theory", "eigenvalue"), [smoothed(sp, y) for sp in spectra.values()]),
            "sampled": ("eigenvalue", np.mean(kernel(y, np.log(values)), axis=1)),
            "atom": ("theory", [float(sp.atom.location) for sp in spectra.values()]),
            "atom_mass": ("theory", [float(sp.atom.mass) for sp in spectra.values()]),
        },
        {"theory": list(spectra), "eigenvalue": np.exp(y)},
    )
    off = np.abs(lines.smoothed - lines.sampled).sum("eigenvalue") * (y[1] - y[0])
    for name in spectra:
        print(f"L1 distance of the {name} to the samples: {float(off.sel(theory=name)):.3f}")
    lines["distance"] = off
    edges = np.geomspace(values[0] * 0.999, values[-1] * 1.001, BINS + 1)
    heights = sampled.histogram(edges) * np.diff(edges) / np.diff(np.log(edges))
    columns = {"lower": edges[:-1], "upper": edges[1:], "mass_per_log": heights}
    histogram = xarray.Dataset({name: ("bin", column) for name, column in columns.items()})
    return {"theory": lines, "sampled": histogram}


def mass_of(sp, y):
    x = np.exp(y)
    return x * np.asarray(sp.density(x))


def kernel(y, at):
    # of Cauchy, normalised on the line of ln λ
    return HALF_WIDTH / np.pi / ((y[:, None] - at) ** 2 + HALF_WIDTH**2)


def smoothed(sp, y):
    # the masses of fine cells, and the atom's with them, at their middles
    fine = np.linspace(y[0], y[-1], 4 * POINTS + 1)
    below = np.asarray(sp.cdf(np.exp(fine)))
    middles = 0.5 * (fine[1:] + fine[:-1])
    return kernel(y, middles) @ np.diff(below)


def draw(tables):
    lines, colors = tables["theory"], rf.plotting.COLORS
    figure, axes = plt.subplots(1, 2, figsize=(11.0, 4.0))
    panels.histogram(axes[0], tables["sampled"], "sampled")
    axes[1].fill_between(
        lines.eigenvalue, lines.sampled, color=panels.GREY, lw=0, label="sampled, smoothed"
    )
    for name, part in (("limit", "sample"), ("finite d", "population")):
        one = lines.sel(theory=name)
        look = {"color": colors[part], "zorder": 3}
        shown = one.mass_per_log.where(one.mass_per_log > 0)
        axes[0].plot(lines.eigenvalue, shown, label=name, **look)
        label = rf"{name}: $L_1$ distance {float(one.distance):.2f}"
        axes[1].plot(lines.eigenvalue, one.smoothed, label=label, **look)
        if float(one.atom_mass) > 0:
            label = f"its atom, mass {float(one.atom_mass):.3g}"
            axes[0].axvline(float(one.atom), color=colors[part], ls=(0, (4, 2)), lw=1.2,
                            label=label)  # fmt: skip
    for ax in axes:
        panels.on_eigenvalues(ax)
        ax.set_yscale("log")
        ax.set_ylim(1e-3, 8.0)
        ax.legend(loc="upper right")
    axes[1].set_ylabel(rf"$\lambda\,\rho(\lambda)$, smoothed by {HALF_WIDTH:g} in $\ln\lambda$")
    return figure


if __name__ == "__main__":
    run(__file__)
