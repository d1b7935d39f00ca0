"""How far each step is from what the machine can do in double precision.

Operations of one residual and one Newton step are counted three times: by hand from the formulas,
in the traced program, and by XLA in the compiled one. Then the whole of solve, spectrum, curve and
cell: the operations that are executed (loops counted as they run) take at least the time that the
machine needs for as many of them, at rates that are measured in the same run. Sampled matrices are
set beside a matrix product of as many operations, eigenvalues beside 4p³/3 of them.

    python benchmarks/bench_floor.py [--points 100000] [--d 40] [--fast]

The results are kept in results/floor.json.
"""

import argparse
import sys
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
from common import best, conclusion, keep, machine, parsed
from operations import Operations, asked, executed, plus, times
from rates import in_words, measured

import rfspec as rf
from rfspec.empirical import features
from rfspec.empirical.draws import Sampling
from rfspec.models.gaussian_equivalent import gaussian_equivalent
from rfspec.numerics.holomorphic import newton_step
from rfspec.resolvent.equations import equations

# claimed: a program has at most so many times the operations of the formulas by hand, and a whole
# takes at most so many times the machine's time for its operations
MOST_OF_HAND = 3.0
MOST_TIMES = {"solve": 4.0, "curve": 8.0, "exact U": 4.0}
MODEL = rf.RandomFeatureModel(64.0, 8.0, 0.01)
SIDE = 8  # of a phase diagram
COUNTED, BLOCK = 512, 256  # points at which operations of solve are counted; powers of two
LAYERS = 6  # of the Hermite expansion of U at this model


def residual_by_hand(atoms):
    """(products, complex quotients) of equations (6) and (7) at one z, κ²λ and weights known."""
    shared = 1 + 13 + 13  # 1 + δ; q(v²D - ζ + ⟨Tg⟩) - 1; c q(v² + κ²⟨λg⟩) - δ
    each = (2 + 1) + 2 + (6 + 1) + (6 + 2 + 2) + (2 + 2)  # T; ψT; e = 1 + ψTq; Σ wTg; Σ wλg
    return shared + atoms * each, 1 + atoms  # D = 1/(1 + δ), g = 1/e


def newton_step_by_hand(atoms):
    """The same of a Newton step: residual, four derivatives, and two unknowns solved for."""
    residual, quotients = residual_by_hand(atoms)
    each = (6 + 2) + 2 + (6 + 6) + 2 * (6 + 2) + 4 * (2 + 2)  # -ψh²; T'; T'g²; gh, qT'g²; four sums
    shared = 8 + 8 + 10 + 12 + 9  # D' = -D², and the four entries of the Jacobian
    solved = 3 * 14 + 2 * (6 + 2)  # a determinant, two numerators; two corrections
    return residual + atoms * each + shared + solved, quotients + 1


def at_one_point(atoms):
    """The equations with so many eigenvalues, a residual and a Newton step of (q, δ, ζ)."""
    sigma = rf.Atoms(np.linspace(0.5, 1.5, atoms), np.full(atoms, 1 / atoms))
    model = rf.RandomFeatureModel(64.0, 8.0, 0.01, covariance=sigma)
    eq = equations(model, gaussian_equivalent(model))
    residual = lambda q, delta, z: eq.residual((q, delta), z)
    step = lambda q, delta, z: newton_step(lambda *u: eq.residual(u, z), (q, delta))
    return {"residual": residual, "Newton step": step}


def counts(atoms, points=4096):
    """Lines and numbers of the three counts."""
    hand = {"residual": residual_by_hand(atoms), "Newton step": newton_step_by_hand(atoms)}
    u = jnp.full(points, 0.3 + 0.2j)
    for name, f in at_one_point(atoms).items():
        traced = times(executed(jax.vmap(f), u, u, u), 1 / points)
        compiled = jax.jit(jax.vmap(f)).lower(u, u, u).compile().cost_analysis() or {}
        products, quotients = hand[name]
        yield {
            "name": name,
            "eigenvalues": atoms,
            "by_hand": products + 11 * quotients,
            "traced": traced.total,
            # XLA takes a complex operation for one
            "compiled": compiled.get("flops", np.nan) / points,
            "bytes": compiled.get("bytes accessed", np.nan) / points,
            "least_bytes": 16 * 5,  # of q, δ and ζ read, two numbers written
        }


def wholes(points):
    """(name, call to time, calls to count, their share of it, answers in it)."""
    z, tau = np.geomspace(1e-3, 60.0, points) + 0j, np.geomspace(1e-1, 1e7, 200)
    # in blocks, since neighbours lead to one another
    blocks = z.reshape(-1, BLOCK)
    some = blocks[:: blocks.shape[0] * BLOCK // COUNTED].ravel()

    def spectrum():
        found = rf.spectrum(MODEL)
        return found.edges, [b.mass for b in found.bulks], [b.loss_drop for b in found.bulks]

    def curve():
        found = rf.learning_curve(MODEL, tau)
        return found.train, found.test

    solve = lambda z: lambda: rf.solve(MODEL, z).q
    yield "solve", solve(z), [solve(some)], COUNTED / points, points
    yield "spectrum", spectrum, [spectrum], 1.0, 1
    yield "curve", curve, [curve], 1.0, 1
    psi = np.geomspace(2.0, 200.0, SIDE)
    diagram = lambda: rf.phase_diagram(psi, psi, 0.01, 1e3, progress=False).test.values
    # threads compute a diagram; a few of its cells are counted by the same answers, asked alone
    few = [(a, b) for a in psi[[1, -2]] for b in psi[[1, -2]]]
    yield "cell", diagram, [cell(*pair) for pair in few], len(few) / SIDE**2, SIDE**2


def cell(psi_p, psi_n):
    model = rf.RandomFeatureModel(psi_p, psi_n, 0.01)

    def answers():
        stop, times = rf.early_stopping(model), rf.timescales(model, "spectrum")
        return stop.tau, times.tau_mem, rf.learning_curve(model, 1e3).test

    return answers


def report(name, seconds, operations, least, unit=1.0):
    print(
        f"{name:<14}{seconds / unit:11.3g} s{operations / unit:12.3g} operations"
        f"{operations / seconds / 1e9:9.3g} Gop/s{seconds / least:9.1f} times the machine's time",
        flush=True,
    )
    return {
        "name": name,
        "seconds": seconds / unit,
        "operations": operations / unit,
        "times_the_machine": seconds / least,
    }


def sampled(d, rates):
    """Exact U beside its layers of matrix products, and eigenvalues beside 4p³/3 operations."""
    key, p, n = jax.random.key(0), 64 * d, 8 * d
    U = lambda: features.training_correlation(key, MODEL, Sampling(d))[0]
    operations = LAYERS * 2.0 * p**2 * n + 2.0 * p**2 * d
    yield report("exact U", best(U, 2), operations, operations / rates.matrix)
    matrix = np.asarray(U())
    operations = 4 / 3 * p**3
    seconds = best(lambda: np.linalg.eigvalsh(matrix), 1)
    yield report("eigenvalues", seconds, operations, operations / rates.matrix)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=2**17, help="of solve, 2 to some power")
    parser.add_argument("--wholes", default="solve,spectrum,curve,cell", help="what to count")
    parser.add_argument("--d", type=int, default=40, help="dimension of the sampled matrix")
    options = parsed(parser, points=2**14, d=16, wholes="solve,curve")
    rf.cache(None)  # nothing is seen of programs that were kept
    rates = measured(options.fast)
    print(in_words(rates))
    few = [row for atoms in (1, 8) for row in counts(atoms)]
    print("\na point                 by hand     traced   compiled     bytes")
    for row in few:
        print(
            f"{row['name']:<12}{row['eigenvalues']:3} λ's{row['by_hand']:12.0f}"
            f"{row['traced']:11.0f}{row['compiled']:11.0f}{row['bytes']:10.0f}"
        )
    good = all(row["traced"] <= MOST_OF_HAND * row["by_hand"] for row in few)
    step = newton_step_by_hand(1)
    rows = []
    print()
    for name, call, counted, share, answers in wholes(options.points):
        if name not in options.wholes.split(","):
            continue
        operations = times(reduce(plus, map(asked, counted), Operations()), 1 / share)
        seconds = best(call, 3, 0.5)
        row = report(name, seconds, operations.total, rates.seconds(operations), answers)
        if name == "solve":
            row["newton_steps"] = operations.total / options.points / (step[0] + 11 * step[1])
            print(f"{'':14}as many operations as {row['newton_steps']:.0f} Newton steps by hand")
        rows.append(row)
    rows += sampled(options.d, rates)
    found = {row["name"]: row["times_the_machine"] for row in rows}
    for name, most in ((n, m) for n, m in MOST_TIMES.items() if n in found):
        print(f"claimed: {name} at most {most:g} times the machine's time, {found[name]:.1f}")
        good &= found[name] <= most
    print(f"claimed: programs have at most {MOST_OF_HAND:g} times the operations by hand")
    keep("floor.json", {**machine(), "rates": rates._asdict(), "counts": few, "wholes": rows})
    return conclusion(good)


if __name__ == "__main__":
    sys.exit(main())
