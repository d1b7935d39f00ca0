"""The train loss carried by each part of the spectrum, against n and against t.

At small t most of it is carried by the satellite, which only the exact equations show; the sample
part, where memorisation is read off, carries little. Beyond p = n there is no satellite.
"""

import beyond as library
import matplotlib.pyplot as plt
import numpy as np
import panels
from recipe import run

import rfspec as rf

DIFFERS = "not in a paper: it needs the third part of the spectrum, and masses that are exact"
PSI_P = 64.0
PSI_N, POINTS = (1.5, 1000.0), 61
AT_T = (0.01, 0.1)
T, AT_N, T_POINTS = (0.001, 3.0), 8.0, 61
SAMPLED_N, SAMPLED_T = (2.0, 4.0, 8.0, 16.0, 32.0, 128.0), (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
D, SEED = 16, 0
FAST = {"POINTS": 6, "T_POINTS": 4, "SAMPLED_N": (2.0,), "SAMPLED_T": (0.1,), "D": 4}


def compute():
    made = {}
    for t in AT_T:
        model = rf.RandomFeatureModel(PSI_P, 1.0, t)
        for name, psi_n in (("", np.geomspace(*PSI_N, POINTS)), ("_sampled", SAMPLED_N)):
            models, along = [model.replace(psi_n=x) for x in psi_n], ("psi_n", psi_n)
            made[f"n_{t:g}{name}"] = (
                library.sampled_drops(SEED, models, along, D)
                if name
                else library.drops(models, along)
            )
    model = rf.RandomFeatureModel(PSI_P, AT_N, 1.0)
    times = np.geomspace(*T, T_POINTS)
    made["t"] = library.drops([model.replace(t=t) for t in times], ("t", times))
    sampled = [model.replace(t=t) for t in SAMPLED_T]
    made["t_sampled"] = library.sampled_drops(SEED, sampled, ("t", SAMPLED_T), D)
    return made


def draw(tables):
    figure, axes = plt.subplots(1, 3, figsize=(12.0, 3.9), sharey=True)
    titles = [rf"$\psi_p = {PSI_P:g}$, $t = {t:g}$" for t in AT_T]
    titles.append(rf"$\psi_p = {PSI_P:g}$, $\psi_n = {AT_N:g}$")
    names = [f"n_{t:g}" for t in AT_T] + ["t"]
    for ax, name, title in zip(axes, names, titles, strict=True):
        x = "t" if name == "t" else "psi_n"
        panels.drops(ax, tables[name], tables[f"{name}_sampled"], x)
        ax.set_title(title)
    for ax in axes[:2]:
        panels.place(ax, PSI_P, "$n = p$")
        ax.set_xlabel(r"$\psi_n = n/d$")
    axes[2].set_xlabel(r"diffusion time $t$")
    axes[0].set_ylabel("part of the train loss")
    axes[0].set_ylim(1e-4, 2.0)
    panels.shared_legend(figure, axes)
    return figure


if __name__ == "__main__":
    run(__file__)
