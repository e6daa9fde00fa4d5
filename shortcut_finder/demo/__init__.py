"""Demo: a dataset with planted shortcuts, and a network that falls for them."""
