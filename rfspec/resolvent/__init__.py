"""The fixed-point equations of (U - z)⁻¹, their solution, and two resolvents at once."""
