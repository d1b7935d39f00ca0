r"""The loss on the samples of training, over all their noise, where training sees m draws of it.

What the loss is taken over are U_∞ = (1/n) Σ_ν g_νg_νᵀ + b²FFᵀ + s² and V_∞, its correlation with
the target. In U the point of sample ν is part of the column √m g + h, of weight D = 1/(1+δ_1),
which takes from g what it knows of it: with e = D a and a = Tr C_g(U - z)⁻¹/n

    (U - z)⁻¹g  ->  (U - z)⁻¹[(1 - e)g - eh/√m]

with that column left out. So U_∞ is the source

    M = C_h + (1 - e_1)(1 - e_2) C_g + e_1e_2 C_h/m                                            (36)

in (16), and what the column knows of the target adds to it

    e_1e_2(c_x²σ_x² + c_ξ²/m) + Σ_{i≠j} (1/d) Tr [e_i(1 - e_j) N_x - e_1e_2 N_ξ/m]ᵀ(U - z_j)⁻¹V̄_j

with N_x and N_ξ the correlations of g with c_xx and of h with c_ξξ. For m → ∞ it is the train loss,
e = δD. Beyond arXiv 2505.17638; arXiv 2609.26392 has the end of training for Σ = I.
"""

from __future__ import annotations

from dataclasses import fields

from ..numerics.types import Number
from .columns import Point, Powers, Source, along, product
from .finite_draws import NoiseDrawsEquations


class FreshNoiseEquations(NoiseDrawsEquations):
    """The equations of training with m draws, whose train loss is over all noise."""

    @classmethod
    def of(cls, eq: NoiseDrawsEquations) -> FreshNoiseEquations:
        """Those of this training."""
        return cls(**{field.name: getattr(eq, field.name) for field in fields(eq)})

    @property
    def judged_apart(self) -> bool:
        return True

    # e
    def _known(self, point: Point) -> Number:
        _, r, _ = point.moments
        of_x = self.ge.v2 * point.q + self.ge.kappa2 * r
        return self.psi_p / self.psi_n * of_x * point.D[0]

    def explained(self, point: Point) -> tuple[Number, Number]:
        _, population = super().explained(point)
        if self.slope is None:
            return population, population
        e = self._known(point)
        noise = self._along({0: self.target.noise}, point)
        of_x = (1.0 - e) * self._along({1: self.slope}, point)
        return noise + of_x + e * self._signal(self._trace_held), population

    def _along(self, a: Powers, point: Point) -> Number:
        # of bF(Σ_k a_kΣᵏ) and V̄
        return self.drop_scale * along(product(a, self._P(point)), point.moments)

    def sample_two_point(self, one: Point, two: Point) -> Number:
        ge, m, e1, e2 = self.ge, self.draws, self._known(one), self._known(two)
        left, drawn = (1.0 - e1) * (1.0 - e2), 1.0 + e1 * e2 / m
        source = Source(
            left * ge.v2 + drawn * ge.s2, {0: drawn * ge.b2, 1: left * ge.kappa2}
        )  # (36)
        (total,) = self.target_two_point(one, two, (source,))
        of_column = self._signal(self._trace_held) + self.target.noise**2 / m
        total += e1 * e2 * of_column
        for e, other, point in ((e1, e2, two), (e2, e1, one)):
            cross: Powers = {0: -e * other * self.target.noise / m}
            if self.slope is not None:
                cross = {**cross, 1: e * (1.0 - other) * self.slope}
            total += self._along(cross, point)
        return total
