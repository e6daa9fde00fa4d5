"""``python -m shortcut_finder``."""

from shortcut_finder.cli.app import main

if __name__ == "__main__":
    main()
