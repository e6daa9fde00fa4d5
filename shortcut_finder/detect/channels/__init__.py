"""Channels: each proposes candidates or findings of one kind."""
