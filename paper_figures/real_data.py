"""The Gaussian prediction on data that are not Gaussian: the packaged 8×8 digits, three activations, three times.

Four fifths of the images train, one fifth tests. The theory knows only the covariance of the training images. Gaussian
data of that covariance, in the same numbers, tell what the finite d = 64 does to it.
"""

from pathlib import Path

import jax
import matplotlib as mpl
import numpy as np

import rfspec as rf
from rfspec.demo import digits
from rfspec.io import write_csv, write_figure
from rfspec.prediction import EXACT, split

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

OUT = Path(__file__).parent.parent / "results" / "figures"
ACTIVATIONS = ("tanh", "erf", "relu")
TIMES = (0.01, 0.1, 1.0)
PSI_P = 16.0
TAU = np.geomspace(1.0, 1e6, 25)
IN_TABLE = TAU[::4]  # decades
IN_PAGE = (1, 3, 6)  # powers of ten


def main() -> None:
    columns: dict[str, list] = {}
    with rf.plotting.style():
        figure, axes = plt.subplots(len(ACTIVATIONS), len(TIMES), figsize=(11.0, 9.0), sharex=True)
        for row, activation in zip(axes, ACTIVATIONS, strict=True):
            for ax, t in zip(row, TIMES, strict=True):
                found, gaussian = measure(activation, t)
                draw(ax, found, gaussian, f"{activation}, $t = {t:g}$")
                for name, values in numbers(found, gaussian, activation, t).items():
                    columns.setdefault(name, []).extend(values)
                write_csv(OUT / "real_data.csv", columns)
        axes[0, 0].legend(fontsize=7)
        write_figure(OUT / "real_data.png", figure)
    plt.close(figure)
    (OUT / "real_data.md").write_text(tables(columns), encoding="utf-8")
    print(f"written to {OUT / 'real_data.png'}")


def measure(activation: str, t: float) -> tuple[rf.HeldOut, rf.LearningCurve]:
    """The digits, and Gaussian data with the eigenvalues of their training part."""
    key, tau = jax.random.key(0), TAU
    found = rf.held_out(key, digits(), PSI_P, t, tau, activation=activation)
    covariance = rf.FromData(split(key, digits(), 0.2, None)[0])
    model = rf.RandomFeatureModel(PSI_P, found.prediction.model.psi_n, t, activation=activation, covariance=covariance)
    matrices = rf.empirical.sample(key, model, found.prediction.d, tolerance=EXACT)
    return found, rf.empirical.gradient_flow(matrices, tau)


def draw(ax: Axes, found: rf.HeldOut, gaussian: rf.LearningCurve, title: str) -> None:
    curves = {"predicted": found.predicted, "digits": found.measured}
    rf.plotting.learning_curve(curves, ax, stop=found.prediction.stop)
    for kind in ("train", "test"):
        label = f"{kind} loss, Gaussian data" if kind == "test" else None
        ax.plot(gaussian.tau, getattr(gaussian, kind), "k+", ms=4, label=label)
    ax.set_title(title)
    ax.get_legend().remove()


def numbers(found: rf.HeldOut, gaussian: rf.LearningCurve, activation: str, t: float) -> dict[str, list]:
    """Losses at decades of τ, the best times, and what the measured loss is at the predicted one."""
    stop = found.prediction.stop
    best = {
        "predicted_best_tau": float(stop.tau),
        "predicted_best_test": float(stop.test),
        "window_lower": float(stop.window.lower),
        "window_upper": float(stop.window.upper),
        "measured_best_tau": found.tau,
        "measured_best_test": found.test,
        "measured_at_predicted_best": found.measured_at_stop,
    }
    curves = {"predicted": found.predicted, "measured": found.measured, "gaussian": gaussian}
    losses = {
        f"{name}_{kind}": [float(x) for x in np.asarray(getattr(curve, kind))[::4]]
        for kind in ("train", "test")
        for name, curve in curves.items()
    }
    tau = [float(x) for x in np.asarray(found.predicted.tau)[::4]]
    print(f"{activation}, t = {t:g}, n = {found.prediction.n}, {found.n_test} held out")
    print("".join(f"{name:>18}" for name in ("tau", *losses)))
    for row in zip(tau, *losses.values(), strict=True):
        print("".join(f"{x:18.5g}" for x in row))
    print(", ".join(f"{name} {value:.5g}" for name, value in best.items()), flush=True)
    same = {"activation": activation, "t": t, "n_train": found.prediction.n, "n_test": found.n_test, **best}
    return {"tau": tau, **losses} | {name: [value] * len(tau) for name, value in same.items()}


def tables(columns: dict[str, list]) -> str:
    """The page's two tables: losses at three times, and when to stop."""
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    names = [f"{name}_{kind}" for kind in ("train", "test") for name in ("predicted", "measured", "gaussian")]
    lines = [
        "| σ | t | τ | train, predicted | digits | Gaussian | test, predicted | digits | Gaussian |",
        "| --- " * 9 + "|",
    ]
    for row in rows:
        power = round(float(np.log10(row["tau"])))
        if power in IN_PAGE:
            losses = " | ".join(f"{row[name]:.4f}" for name in names)
            lines.append(f"| {row['activation']} | {row['t']:g} | 10^{power} | {losses} |")
    lines += [
        "",
        "| σ | t | best τ, predicted | window | measured | test loss, predicted | measured there | smallest |",
    ]
    lines.append("| --- " * 8 + "|")
    for row in rows[:: len(IN_TABLE)]:
        end = f"{row['window_upper']:.4g}".replace("inf", "∞")
        times = f"{row['predicted_best_tau']:.4g} | {row['window_lower']:.4g} to {end}"
        losses = (row[name] for name in ("predicted_best_test", "measured_at_predicted_best", "measured_best_test"))
        numbers = " | ".join(f"{loss:.4f}" for loss in losses)
        lines.append(f"| {row['activation']} | {row['t']:g} | {times} | {row['measured_best_tau']:.4g} | {numbers} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
