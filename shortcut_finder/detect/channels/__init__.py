"""Channels: each file is one way to find; it proposes, and concludes what holds.

A channel is a function `propose` that looks at a `View` and returns `Proposals`.
"""

# By name, in the order in which they conclude: a channel may leave out what one before it found.
CHANNELS = {
    "cells": "shortcut_finder.detect.channels.cells",
    "border": "shortcut_finder.detect.channels.border",
    "looks": "shortcut_finder.detect.channels.looks",
    "columns": "shortcut_finder.detect.channels.columns",
    "evidence": "shortcut_finder.detect.channels.evidence",
    "surroundings": "shortcut_finder.detect.channels.surroundings",
}
