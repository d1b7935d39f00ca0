"""What training does along the spectrum: losses, when to stop, timescales and how they scale."""
