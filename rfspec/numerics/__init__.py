"""Numerical methods that know no physics: Newton's method and continuation, quadrature,
checks of arguments.
"""
