"""Pixels: what is alike in pictures, by their pixels alone."""
