"""Model: trained classifiers, wherever they come from."""
