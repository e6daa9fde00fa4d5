"""Every error a user can meet.

    ShortcutFinderError
    ├── DatasetError       the images, labels or metadata cannot be used
    │   └── UnreadableImage    one image cannot; it is listed and the sweep goes on
    ├── ModelError         the model, its weights or its class names cannot be used
    ├── SettingsError      an option has a value that makes no sense
    └── RunError           a run folder is missing, broken or belongs to another scan

Each message is one line for the person at the keyboard: what was wrong, where, what to do next.
"""


class ShortcutFinderError(Exception):
    """Something the user can mend; the command line prints it as one line and exits with 1."""


class DatasetError(ShortcutFinderError):
    """The images, labels or metadata cannot be used."""


class UnreadableImage(DatasetError):  # noqa: N818 - a noun a reader recognises
    """One image cannot be decoded; it goes to ``unreadable.csv`` with the reason."""


class ModelError(ShortcutFinderError):
    """The model, its weights or its class names cannot be used."""


class SettingsError(ShortcutFinderError):
    """An option has a value that makes no sense."""


class RunError(ShortcutFinderError):
    """A run folder is missing, broken or belongs to another scan."""
