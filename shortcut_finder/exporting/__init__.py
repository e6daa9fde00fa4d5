"""Exporting: what was found, in the formats of annotation tools and experiment trackers."""
