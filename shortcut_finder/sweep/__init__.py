"""Sweep: every image once through the model, and what is kept of it."""
