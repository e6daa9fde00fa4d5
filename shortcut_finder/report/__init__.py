"""Report: a run as one page."""
