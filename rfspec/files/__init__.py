"""Files that are never half-written, and the state of a long run."""
