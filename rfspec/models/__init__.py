"""A random-feature score model: activation, process, target, covariance,
and its Gaussian equivalent.
"""
