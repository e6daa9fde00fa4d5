"""``python -m shortcut_finder``."""

from shortcut_finder.cli import main

if __name__ == "__main__":
    main()
