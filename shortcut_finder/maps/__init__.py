"""Maps: where in an image a model finds the evidence for a class."""
