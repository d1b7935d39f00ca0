"""The physical branch by another way than the package's: straight down from where it is known."""

import jax
import jax.numpy as jnp

from rfspec.numerics.holomorphic import newton_step, residual_at

# Im ζ falls by this factor from level to level, from so many times the spectrum's bound
FALL, TOP, LEVELS = 2.4, 10.0, 96


def continued_from_above(eq, zeta):
    """The solution at ζ, Im ζ ≥ 0: two Newton steps at each height, and four at the last one."""
    top = TOP * jnp.maximum(eq.upper_bound, jnp.abs(zeta))
    depth = jnp.log(top / jnp.maximum(zeta.imag, 1e-16 * jnp.abs(zeta)))
    levels = jnp.minimum(jnp.ceil(depth / jnp.log(FALL)), LEVELS)

    def step(k, u):
        level = k // 2 + 1
        height = jnp.where(level <= levels, top * jnp.exp(-depth * level / levels), zeta.imag)
        return newton_step(residual_at(eq, zeta.real + 1j * height), u)

    return jax.lax.fori_loop(0, 2 * LEVELS + 4, step, eq.start(zeta.real + 1j * top))
