"""Fig. 1 of arXiv 2505.17638: memorisation,
early stopping and architectural regularisation over n and p, exactly.
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np

import rfspec as rf
from rfspec.files.io import write_dataset, write_figure

mpl.use("Agg")

import matplotlib.pyplot as plt

OUT = Path(__file__).parent.parent / "results" / "figures"


def main(points: int = 48) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    grid, state = np.geomspace(1.0, 1000.0, points), OUT / "fig1_phase_diagram.partial"
    found = rf.phase_diagram(grid, grid, 0.01, [1e3, 1e5], checkpoint=state, progress=True)
    with rf.plotting.style():
        figure, axes = plt.subplots(1, 2, figsize=(11.0, 3.8))
        for ax, tau in zip(axes, found.tau.values, strict=True):
            rf.plotting.phase_diagram(found.sel(tau=tau), ax)
        axes[0].get_legend().remove()
        write_figure(OUT / "fig1_phase_diagram.png", figure)
    plt.close(figure)
    write_dataset(OUT / "fig1_phase_diagram.nc", found)
    state.unlink()
    print(f"written to {OUT / 'fig1_phase_diagram.png'}")


if __name__ == "__main__":
    main()
