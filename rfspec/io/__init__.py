"""Results in files, with the model that they are of: .csv, .json and .nc, written and read back."""

from .reading import Stored, read
from .writing import write

__all__ = ["Stored", "read", "write"]
