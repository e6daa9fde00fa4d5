"""Data: images with labels, how they are read, and the parts of their frame."""
