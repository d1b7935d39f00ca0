"""Where to stop: the best training time and its window, as functions of n, p and t.

Inside the window the test loss is within 0.01 of its minimum. It opens with n, and has no end where
the architecture regularises.
"""

import beyond as library
import matplotlib.pyplot as plt
import numpy as np
import panels
from recipe import run

import rfspec as rf

DIFFERS = "not in a paper: best times are roots of exact losses, not minima of noisy ones"
PSI_P, PSI_N, T = 64.0, 8.0, 0.1
N, P, TIMES, POINTS = (1.0, 1000.0), (1.0, 1000.0), (0.003, 3.0), 61
SAMPLED = {"psi_n": (2.0, 8.0, 32.0), "psi_p": (4.0, 16.0, 64.0), "t": (0.03, 0.1, 0.3)}
D, REPEATS, SEED = 24, 4, 0
FAST = {
    "POINTS": 5, "SAMPLED": {"psi_n": (2.0,), "psi_p": (4.0,), "t": (0.1,)}, "D": 4, "REPEATS": 2,
}  # fmt: skip


def compute():
    made, model = {}, rf.RandomFeatureModel(PSI_P, PSI_N, T)
    for name, ends in (("psi_n", N), ("psi_p", P), ("t", TIMES)):
        values = np.geomspace(*ends, POINTS)
        made[name] = library.stops([model.replace(**{name: x}) for x in values], (name, values))
        sampled = [model.replace(**{name: x}) for x in SAMPLED[name]]
        along = (name, SAMPLED[name])
        made[f"{name}_sampled"] = library.sampled_stops(
            SEED, sampled, along, D, REPEATS, kind="gaussian"
        )
    return made


def draw(tables):
    figure, axes = plt.subplots(1, 3, figsize=(12.0, 3.9), sharey=True)
    at = {"psi_n": rf"\psi_n = {PSI_N:g}", "psi_p": rf"\psi_p = {PSI_P:g}", "t": f"t = {T:g}"}
    symbols = {"psi_n": r"$\psi_n = n/d$", "psi_p": r"$\psi_p = p/d$", "t": r"diffusion time $t$"}
    for ax, (name, symbol) in zip(axes, symbols.items(), strict=True):
        panels.window(ax, tables[name], name)
        panels.measured(ax, tables[f"{name}_sampled"], name, "tau_star", "black")
        ax.set_xlabel(symbol)
        ax.set_title(", ".join(f"${value}$" for key, value in at.items() if key != name))
    panels.place(axes[0], PSI_P, "$n = p$")
    panels.place(axes[1], PSI_N, "$p = n$")
    axes[0].set_ylabel(r"training time $\tau$")
    axes[0].set_ylim(1.0, 1e6)
    handles = axes[0].get_legend_handles_labels()[0]
    handles += panels.keys({"o": f"best time of samples, d = {D}"}, color="black")
    figure.legend(handles=handles, loc="outside lower center", ncol=len(handles))
    return figure


if __name__ == "__main__":
    run(__file__)
