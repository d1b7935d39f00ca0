"""Fig. 2 of arXiv 2609.26392, left and upper right: double descent, and its plateau.

The test loss rises from p = n on, has its peak at p = nm, where the train loss vanishes, and ends
on a plateau, which is the higher the less noise there is.
"""

import matplotlib.pyplot as plt
import numpy as np
import panels
import ridge as library
from recipe import run

DIFFERS = (
    "without the loss on training data under fresh noise, which the package does not have; most "
    "samples are of the Gaussian equivalent, since tanh features tend to the limit slowly in d"
)
PSI_N, M, T, RIDGE = 16.0, 16.0, 0.1, 1e-3
PSI_P, POINTS = (0.5, 8000.0), 81
# "infinitely" many features
PLATEAU, TIMES, TIME_POINTS, PLATEAU_M = 1e6, (0.01, 3.0), 41, (1.0, 4.0, 16.0, 64.0)
SAMPLED = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 192.0, 256.0, 384.0)
P, D, REPEATS, SEED = 1000, (4, 40), 6, 0
FEATURES, FEATURES_D, FEATURES_REPEATS = (1.0, 4.0, 16.0, 32.0), 32, 3
FAST = {
    "POINTS": 9,
    "TIME_POINTS": 3,
    "SAMPLED": (1.0, 4.0),
    "P": 60,
    "REPEATS": 2,
    "FEATURES": (4.0,),
    "FEATURES_D": 6,
}


def compute():
    point = {"t": T, "m": M, "ridge": RIDGE, "psi_n": PSI_N}
    wide = {"ridge": RIDGE, "psi_n": PSI_N, "psi_p": PLATEAU, "m": PLATEAU_M}
    fixed = P, (FEATURES_D, FEATURES_D), FEATURES_REPEATS
    return {
        "features": library.sampled_late_losses(SEED, *fixed, "features", **point, psi_p=FEATURES),
        "exact": library.late_losses(**point, psi_p=np.geomspace(*PSI_P, POINTS)),
        "gaussian": library.sampled_late_losses(
            SEED, P, D, REPEATS, "gaussian", **point, psi_p=SAMPLED
        ),
        "plateau": library.late_losses(**wide, t=np.geomspace(*TIMES, TIME_POINTS)),
    }


def draw(tables):
    exact, sampled, plateau = (tables[name] for name in ("exact", "gaussian", "plateau"))
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.0, 3.8))
    for kind, color, marker in (("test", "#D55E00", "o"), ("train", "#0072B2", "s")):
        left.plot(exact.psi_p, exact[kind], color=color, label=f"{kind} loss")
        panels.measured(left, sampled, "psi_p", kind, color, marker)
        panels.measured(left, tables["features"], "psi_p", kind, color, "x")
    for place, name in ((PSI_N, "p = n"), (PSI_N * M, "p = nm")):
        panels.place(left, place, f"${name}$")
    left.set_title(rf"$\psi_n = {PSI_N:g}$, $m = {M:g}$, $t = {T:g}$, $\lambda = 10^{{-3}}$")
    left.set_xscale("log")
    left.set_ylim(0, None)
    left.set_xlabel(r"$\psi_p = p/d$")
    left.set_ylabel(r"loss at $\tau = \infty$")
    handles = left.get_legend_handles_labels()[0]
    shapes = {"o": "Gaussian samples, d = 4 to 40", "x": f"tanh features, d = {FEATURES_D}"}
    left.legend(
        handles=[*handles, *panels.keys(shapes)], loc="upper left", bbox_to_anchor=(0, 0.93)
    )
    for i, color in enumerate(panels.shades(plateau.sizes["m"])):
        one = plateau.isel(m=i)
        right.plot(one.t, one.test, color=color, label=f"$m = {float(one.m):g}$")
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_xlabel(r"diffusion time $t$")
    right.set_ylabel(r"test loss at $\psi_p = \infty$")
    right.set_title("the plateau")
    right.legend()
    return figure


if __name__ == "__main__":
    run(__file__)
