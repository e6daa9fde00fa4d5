"""Run: the record of one scan."""
