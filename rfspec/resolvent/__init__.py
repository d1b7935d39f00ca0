"""The fixed-point equations of the resolvent (U - z)⁻¹, their solution, and two resolvents at once."""
