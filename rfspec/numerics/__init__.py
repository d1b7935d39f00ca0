"""Numerical methods that know no physics: Newton's method, continuation, quadrature and checks."""
