"""Cleaning: a better dataset from a run, in a folder of its own; the source is never touched."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from shortcut_finder.cleaning.exports import tags_of, write_manifest, write_numbers, write_table
from shortcut_finder.cleaning.originals import Originals, absolute
from shortcut_finder.cleaning.plan import CleaningPlan, plan_cleaning
from shortcut_finder.cleaning.retouching import retouched
from shortcut_finder.data.dicom import SUFFIXES, is_dicom
from shortcut_finder.data.reading import storable
from shortcut_finder.errors import DatasetError, RunError, SettingsError, UnreadableImage
from shortcut_finder.run.decisions import read_decisions
from shortcut_finder.run.folder import Run, load_run
from shortcut_finder.run.lock import held
from shortcut_finder.schema import to_json
from shortcut_finder.settings import FILES, SURE
from shortcut_finder.texts import count, shown

VERSION = 1


def clean(
    run: Run | str | Path,
    action: str = "drop",
    *,
    out: str | Path | None = None,
    decisions: str | Path | None = None,
    expand: bool = False,
    tier: str = SURE,
    files: str | None = None,
) -> CleaningPlan:
    """Clean the dataset of a run.

    Args:
        run: a scan, or its folder.
        action: ``drop`` leaves out the images that carry what is cleaned, ``mask`` fills the places
            in copies of them, ``reweight`` gives sample weights under which it tells nothing.
        out: a new folder for the result; None to plan only.
        decisions: ``decisions.json`` from the page of the run. Without it findings that are
            confirmed, or suspect and of high severity, are cleaned.
        expand: look for the accepted things in all images again before cleaning.
        tier: ``sure`` takes the images that surely carry what is cleaned, ``likely`` also those
            that likely do. What the decisions say of an image itself counts in either case.
        files: how images that stay as they are get into the new folder: ``hardlink``, ``symlink``,
            ``copy``, or ``none``, which leaves them where they are. Default ``copy`` for ``mask``,
            ``none`` for the others.

    Returns:
        The plan, which says what was done to every image.

    Raises:
        ShortcutFinderError: the run, the decisions, the images or the folder cannot be used.
    """
    run = run if isinstance(run, Run) else load_run(run)
    files = files or ("copy" if action == "mask" else "none")
    if files not in FILES:
        raise SettingsError(f"--files {files}: choose one of {', '.join(FILES)}")
    originals = Originals(run)
    decided = None if decisions is None else read_decisions(Path(decisions), run)
    plan = plan_cleaning(
        run, action, decisions=decided, expand=expand, tier=tier, read=originals.picture
    )
    if originals.root is None and (action == "mask" or files != "none"):
        raise DatasetError(
            f"{run.folder}: its images are no files of their own (a Python dataset, an archive or "
            "a URL); use --action drop or reweight without --files, and the lists, indices and "
            "weights it writes"
        )
    if out is not None:
        _write(plan, run, originals, absolute(Path(out)), files)
    return plan


# --- the new folder -------------------------------------------------------------------------------


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder that appears under its name when everything in it is written, or not at all.

    Until then it is called ``<name>.part``; one that a killed run left behind is replaced.

    Raises:
        RunError: there is something under either name already, or another process writes it.
    """
    with held(out.parent, f"{out.name}.lock"):
        part = _emptied(out)
        part.mkdir()
        try:
            yield part
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        if out.exists():
            out.rmdir()
        part.rename(out)


def _emptied(out: Path) -> Path:
    """The name that a new folder has until it is finished; nothing is there any more."""
    part = out.with_name(out.name + ".part")
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise RunError(f"{out}: is a file or a link; choose a new folder for --out")
    if out.exists() and any(out.iterdir()):
        raise RunError(f"{out}: is not empty; choose a new folder for --out")
    if os.path.lexists(part):
        ours = part.is_dir() and not part.is_symlink()
        if not ours or (any(part.iterdir()) and not (part / "plan.json").is_file()):
            raise RunError(f"{part}: is in the way; move it, or choose another --out")
        shutil.rmtree(part)
    return part


def _write(plan: CleaningPlan, run: Run, originals: Originals, out: Path, files: str) -> None:
    """Everything that the new folder holds."""
    for inside, what in ((originals.root, "the images"), (run.folder, "the run")):
        if inside is not None and out.resolve().is_relative_to(inside.resolve()):
            raise RunError(f"{out}: lies inside {what}, {inside}; choose a folder elsewhere")
    with new_folder(out) as part:
        (part / "plan.json").write_bytes(to_json(_plan_card(plan, run, files)))
        rows = plan.images.assign(path=_place_images(plan, originals, part, out, files))
        unfilled = (rows["change"] == "mask") & (rows["path"] == "")
        rows.loc[unfilled, "change"] = "drop"
        kept = rows[rows["change"] != "drop"]
        write_table(part, "removed.csv", rows[rows["change"] == "drop"])
        if plan.action == "mask":
            write_table(part, "masked.csv", rows[rows["change"] == "mask"])
        (part / "tags.jsonl").write_bytes(tags_of(plan, originals))
        write_manifest(part, kept, plan, run)
        write_numbers(part, rows, plan, originals, run)


def _plan_card(plan: CleaningPlan, run: Run, files: str) -> dict[str, Any]:
    return {
        "schema_version": VERSION,
        "action": plan.action,
        "tier": plan.tier,
        "files": files,
        "run": str(run.folder),
        "run_fingerprint": run.fingerprint,
        "findings": list(plan.findings),
        "left_alone": dict(plan.left_alone),
        "classes": plan.counts.to_dict("records"),
        "advice": list(plan.advice),
        "warnings": list(plan.warnings),
    }


def _place_images(
    plan: CleaningPlan, originals: Originals, part: Path, out: Path, files: str
) -> list[str]:
    """Bring the images into the new folder.

    Returns:
        Where each image is to be found: relative to the new folder, absolute where it stayed;
        empty where it was left out or could not be filled.
    """
    if originals.root is None:
        return list(plan.images["image"])
    places = []
    for row in plan.images.itertuples():
        image = str(row.image)
        if row.change == "drop":
            places.append("")
        elif row.change == "mask":
            places.append(_filled_copy(image, plan, originals, part))
        elif files == "none":
            places.append(_listable(originals.path(image), image) + _frame(originals, image))
        else:
            frame = _frame(originals, image)
            name = destination(image.removesuffix(frame))
            _bring(originals, image, part / name, files)
            places.append(name + frame)
    return places


def _frame(originals: Originals, image: str) -> str:
    """What follows the name of the file where an image is a frame of it: ``#3``."""
    number = originals.frame(image)
    return f"#{number}" if number else ""


def destination(image: str) -> str:
    """Where an image lies in the new folder, relative to it; never outside.

    Example:
        >>> destination("cat/1.jpg"), destination("../other/1.jpg")
        ('images/cat/1.jpg', 'images/elsewhere/39df24e03b3a/1.jpg')
    """
    path = PurePosixPath(image)
    if path.is_absolute() or ".." in path.parts or not path.name:
        digest = hashlib.sha256(image.encode("utf-8", "surrogateescape")).hexdigest()[:12]
        path = PurePosixPath("elsewhere", digest, path.name or "image")
    return PurePosixPath("images", path).as_posix()


def _listable(path: Path, image: str) -> str:
    """A path as a manifest can hold it."""
    text = str(path)
    if storable(text) != text:
        raise DatasetError(
            f"{image!r}: its name is no UTF-8, which a manifest must be; use --files copy, which "
            "renames it"
        )
    return text


def _filled_copy(image: str, plan: CleaningPlan, originals: Originals, part: Path) -> str:
    name = destination(image)
    data = originals.bytes(image)
    try:
        if is_dicom(data) or originals.path(image).suffix.lower() in SUFFIXES:
            # As it was seen, and without what the file says of whom.
            name, seen = f"{name}.png", io.BytesIO()
            originals.picture(image).save(seen, "PNG")
            data = seen.getvalue()
        filled = retouched(data, plan.boxes.get(image, ()), plan.frames.get(image, 0.0))
    except UnreadableImage:
        return ""
    path = part / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(filled)
    return name


def _bring(originals: Originals, image: str, target: Path, files: str) -> None:
    if os.path.lexists(target):
        # Another frame of the file has brought it.
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    source = originals.path(image)
    if files == "copy":
        target.write_bytes(originals.bytes(image))
        return
    try:
        if files == "symlink":
            target.symlink_to(source.resolve())
        else:
            # A link to a link would break when the link goes.
            os.link(source.resolve(), target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        raise DatasetError(
            f"{source}: cannot be linked from {target.parent} ({error.strerror}); use --files copy"
        ) from error


def summary(plan: CleaningPlan) -> str:
    """The plan as a table for the terminal: images of each class before and after."""
    verb = {"drop": "dropped", "mask": "masked", "reweight": "reweighted"}[plan.action]
    left = "weighted > 0" if plan.action == "reweight" else "left"
    rows = [("class", "images", verb, left)]
    for row in plan.counts.itertuples():
        rows.append((shown(row.label), f"{row.images:,}", f"{row.changed:,}", f"{row.left:,}"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in rows
    ]
    cleaned = count(len(plan.findings), "finding", "findings")
    left_alone = [
        f"{finding}: {count(images, 'image', 'images')} left alone that likely "
        f"{'carries' if images == 1 else 'carry'} it; --tier likely takes them too"
        for finding, images in plan.left_alone.items()
    ]
    lines += ["", *left_alone] if left_alone else []
    return "\n".join([f"{cleaned}: {', '.join(plan.findings)}", "", *lines])
