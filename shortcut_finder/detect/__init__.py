"""Detect: what images of one class share and others lack, and how suspicious that is."""
