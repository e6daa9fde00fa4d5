"""Export: a run as files that annotation tools import."""

from __future__ import annotations

from pathlib import Path

from shortcut_finder.errors import RunError, SettingsError
from shortcut_finder.exporting.formats import FORMATS, interface_of
from shortcut_finder.exporting.marks import marked_images
from shortcut_finder.run.folder import Run, load_run
from shortcut_finder.schema import write_whole
from shortcut_finder.settings import EXPORTS


def export(run: Run | str | Path, to: str, out: str | Path) -> list[Path]:
    """Write what was found for an annotation tool.

    Args:
        run: a scan, or its folder.
        to: ``coco``, ``cvat``, ``label-studio``, ``fiftyone`` or ``csv``.
        out: a new file; for ``fiftyone`` a new folder. Beside the tasks of Label Studio lies the
            labelling interface that they are made for, ``<out>.interface.xml``.

    Returns:
        The files that were written.

    Raises:
        ShortcutFinderError: the run cannot be read, or there is something at ``out``.
    """
    if to not in EXPORTS:
        raise SettingsError(f"--to {to}: choose one of {', '.join(EXPORTS)}")
    run, out = run if isinstance(run, Run) else load_run(run), Path(out)
    if out.exists() and not (out.is_dir() and to == "fiftyone" and not any(out.iterdir())):
        raise RunError(f"{out}: is there already; choose another --out")
    files = {
        out / name if name else out: content
        for name, content in FORMATS[to](run, marked_images(run)).items()
    }
    if to == "label-studio":
        files[out.with_name(out.name + ".interface.xml")] = interface_of(run)
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    return list(files)
