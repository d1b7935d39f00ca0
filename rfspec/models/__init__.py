"""A random-feature score model: activation, process, target, covariance, Gaussian equivalent."""
