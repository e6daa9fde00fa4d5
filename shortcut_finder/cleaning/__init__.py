"""Cleaning: a better dataset from a run."""
