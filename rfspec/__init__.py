import jax
jax.config.update("jax_enable_x64", True)
from .activations import Activation
from .covariance import Covariance, Isotropic, Atoms, FromData
from .processes import OrnsteinUhlenbeck, FlowMatching, Process
from .model import RandomFeatureModel
from .gaussian_equivalent import gaussian_equivalent, GaussianEquivalent
from .solver import solve
from .spectrum import spectrum
from .timescales import timescales, clock
from . import empirical
