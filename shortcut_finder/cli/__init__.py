"""Command line."""

from shortcut_finder.cli.app import main

__all__ = ["main"]
