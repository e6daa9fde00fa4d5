"""Reviewing: a run as a local server, for people who decide about many images."""
