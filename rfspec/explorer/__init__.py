"""A local web page of sliders: what it computes, its scripts, its pictures, and the page."""
