"""Comparison: what became of findings and images from one run to the next."""
