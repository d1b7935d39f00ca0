"""The Gaussian prediction on data that are not Gaussian: the packaged 8×8 digits,
three activations, three times.

Four fifths of the images train, one fifth tests. The theory knows only the covariance of the
training images. Gaussian data of that covariance, in the same numbers, tell what the finite d = 64
does to it. Repeated over draws of the split and of the features.
"""

from pathlib import Path

import jax
import matplotlib as mpl
import numpy as np

import rfspec as rf
from rfspec.cli.demo import digits
from rfspec.empirical.sampled_curves import averaged
from rfspec.files.io import write_csv, write_figure
from rfspec.surveys.held_out_data import EXACT, split

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

OUT = Path(__file__).parent.parent / "results" / "figures"
ACTIVATIONS = ("tanh", "erf", "relu")
TIMES = (0.01, 0.1, 1.0)
PSI_P = 16.0
DRAWS = 4
TAU = np.geomspace(1.0, 1e6, 25)
IN_TABLE = TAU[::4]  # decades
POWERS = {1: "10", 3: "10³", 6: "10⁶"}  # of ten, on the page


def main() -> None:
    columns: dict[str, list] = {}
    with rf.plotting.style():
        figure, axes = plt.subplots(len(ACTIVATIONS), len(TIMES), figsize=(11.0, 9.0), sharex=True)
        for row, activation in zip(axes, ACTIVATIONS, strict=True):
            for ax, t in zip(row, TIMES, strict=True):
                cases = [measure(jax.random.key(seed), activation, t) for seed in range(DRAWS)]
                found, gaussian = zip(*cases, strict=True)
                draw(ax, found, gaussian, f"{activation}, $t = {t:g}$")
                for name, values in numbers(found, gaussian, activation, t).items():
                    columns.setdefault(name, []).extend(values)
                write_csv(OUT / "real_data.csv", columns)
        axes[0, 0].legend(fontsize=7)
        write_figure(OUT / "real_data.png", figure)
    plt.close(figure)
    (OUT / "real_data.md").write_text(tables(columns), encoding="utf-8")
    print(f"written to {OUT / 'real_data.png'}")


def measure(key: jax.Array, activation: str, t: float) -> tuple[rf.HeldOut, rf.LearningCurve]:
    """The digits, and Gaussian data with the eigenvalues of their training part;
    the key splits and draws.
    """
    found = rf.held_out(key, digits(), PSI_P, t, TAU, activation=activation, repeats=1)
    covariance = rf.FromData(split(key, digits(), 0.2, None)[0])
    model = rf.RandomFeatureModel(
        PSI_P, found.prediction.model.psi_n, t, activation=activation, covariance=covariance
    )
    matrices = rf.empirical.sample(key, model, found.prediction.d, tolerance=EXACT)
    return found, rf.empirical.gradient_flow(matrices, TAU)


def draw(
    ax: Axes, found: tuple[rf.HeldOut, ...], gaussian: tuple[rf.LearningCurve, ...], title: str
) -> None:
    predicted = averaged([f.predicted for f in found])
    curves = {"predicted": predicted, "digits": averaged([f.measured for f in found])}
    rf.plotting.learning_curve(curves, ax, stop=found[0].prediction.stop)
    mean = averaged(list(gaussian))
    for kind in ("train", "test"):
        label = f"{kind} loss, Gaussian data" if kind == "test" else None
        ax.errorbar(
            mean.tau,
            getattr(mean, kind),
            getattr(mean.standard_error, kind),
            fmt="k+",
            ms=4,
            label=label,
        )
    ax.set_title(title)
    ax.get_legend().remove()


def numbers(
    found: tuple[rf.HeldOut, ...], gaussian: tuple[rf.LearningCurve, ...], activation: str, t: float
) -> dict[str, list]:
    """Means over the draws and their standard errors: losses at decades of τ, the loss at the
    predicted best time and the smallest; of the best times the geometric mean and the range.
    """
    stops = [f.prediction.stop for f in found]
    each = {
        "predicted_best_test": [float(s.test) for s in stops],
        "measured_at_predicted_best": [f.measured_at_stop for f in found],
        "measured_best_test": [f.test for f in found],
    }
    best = {
        "predicted_best_tau": float(np.exp(np.mean([np.log(s.tau) for s in stops]))),
        "window_lower": float(np.mean([s.window.lower for s in stops])),
        "window_upper": float(np.mean([s.window.upper for s in stops])),
        "measured_best_tau": float(np.exp(np.mean([np.log(f.tau) for f in found]))),
        "measured_best_tau_least": min(f.tau for f in found),
        "measured_best_tau_most": max(f.tau for f in found),
    }
    for name, values in each.items():
        best |= {
            name: float(np.mean(values)),
            f"{name}_error": float(np.std(values, ddof=1) / np.sqrt(len(values))),
        }
    curves = {
        "predicted": averaged([f.predicted for f in found]),
        "measured": averaged([f.measured for f in found]),
        "gaussian": averaged(list(gaussian)),
    }
    losses = {}
    for kind in ("train", "test"):
        for name, curve in curves.items():
            losses[f"{name}_{kind}"] = [float(x) for x in getattr(curve, kind)[::4]]
            losses[f"{name}_{kind}_error"] = [
                float(x) for x in getattr(curve.standard_error, kind)[::4]
            ]
    tau = [float(x) for x in TAU[::4]]
    print(
        f"{activation}, t = {t:g}, n = {found[0].prediction.n}, {found[0].n_test} held out, "
        f"{len(found)} draws"
    )
    print(", ".join(f"{name} {value:.5g}" for name, value in best.items()), flush=True)
    same = {
        "activation": activation,
        "t": t,
        "n_train": found[0].prediction.n,
        "n_test": found[0].n_test,
        **best,
    }
    return {"tau": tau, **losses} | {name: [value] * len(tau) for name, value in same.items()}


def tables(columns: dict[str, list]) -> str:
    """The page's two tables: losses at three times, and when to stop."""
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    names = [
        f"{name}_{kind}"
        for kind in ("train", "test")
        for name in ("predicted", "measured", "gaussian")
    ]
    lines = [
        "| σ | t | τ | train, predicted | digits | Gaussian | test, predicted | digits | Gaussian "
        "|",
        "| --- " * 9 + "|",
    ]
    for row in rows:
        power = round(float(np.log10(row["tau"])))
        if power in POWERS:
            losses = " | ".join(with_error(row, name) for name in names)
            lines.append(f"| {row['activation']} | {row['t']:g} | {POWERS[power]} | {losses} |")
    lines += [
        "",
        "| σ | t | best τ, predicted | window | measured | test loss, predicted | measured there "
        "| smallest |",
    ]
    lines.append("| --- " * 8 + "|")
    for row in rows[:: len(IN_TABLE)]:
        window = f"{time(row['window_lower'])} to {time(row['window_upper'])}"
        spread = f"{time(row['measured_best_tau_least'])} to {time(row['measured_best_tau_most'])}"
        predicted, measured = (time(row[f"{who}_best_tau"]) for who in ("predicted", "measured"))
        times = f"{predicted} | {window} | {measured} ({spread})"
        losses = ("predicted_best_test", "measured_at_predicted_best", "measured_best_test")
        numbers = " | ".join(with_error(row, name) for name in losses)
        lines.append(f"| {row['activation']} | {row['t']:g} | {times} | {numbers} |")
    return "\n".join(lines) + "\n"


def time(tau: float) -> str:
    """Four digits, without powers of ten."""
    return "∞" if np.isinf(tau) else f"{float(f'{tau:.4g}'):,.10g}"


def with_error(row: dict[str, float], name: str) -> str:
    """0.9947(3): the standard error in the last digit shown."""
    return f"{row[name]:.4f}({round(1e4 * row[f'{name}_error'])})"


if __name__ == "__main__":
    main()
