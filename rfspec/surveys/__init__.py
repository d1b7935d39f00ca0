"""Many models at once: phase diagrams, diffusion times, predictions from a data matrix."""
