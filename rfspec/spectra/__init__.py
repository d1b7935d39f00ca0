"""The spectrum of U: edges, bulks, parts, densities; where parts merge; closed limits."""
