"""Answers beside the ground truth in multi-precision arithmetic."""
