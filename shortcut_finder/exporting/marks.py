"""Marks: what each image carries, as annotation tools think of it: boxes and tags with a score."""

from __future__ import annotations

from dataclasses import dataclass

from shortcut_finder.detect.place import WHOLE
from shortcut_finder.run.folder import Run
from shortcut_finder.texts import shown


@dataclass(frozen=True)
class Mark:
    """One finding in one image.

    Attributes:
        name: what annotation tools call it, such as ``F1 corner (daisy)``.
        finding: its key in the run.
        kind: of the finding.
        score: how surely the image carries it, by what severity allows, in [0, 1].
        tier: ``sure`` or ``likely``.
        box: x0, y0, x1, y1 in pixels of the upright original; None for a finding of the whole
            image, which is a tag.
    """

    name: str
    finding: str
    kind: str
    score: float
    tier: str
    box: tuple[float, float, float, float] | None


@dataclass(frozen=True)
class MarkedImage:
    """One image with all that it carries.

    Attributes:
        number: from 0, in the order of the names.
        name: path relative to the dataset.
        path: where the file lies; the name where there is no file.
        width: of the upright original, in pixels.
        height: of the upright original, in pixels.
        label: its class, or all of its labels as text.
        predicted: what the model says.
        marks: the most certain first.
    """

    number: int
    name: str
    path: str
    width: int
    height: int
    label: str
    predicted: str
    marks: tuple[Mark, ...]

    @property
    def boxes(self) -> list[tuple[Mark, tuple[float, float, float, float]]]:
        """Marks with their boxes."""
        return [(mark, mark.box) for mark in self.marks if mark.box is not None]

    @property
    def tags(self) -> list[Mark]:
        """Marks of the whole image."""
        return [mark for mark in self.marks if mark.box is None]


def names_of(run: Run) -> dict[str, str]:
    """The name of each finding in annotation tools, by its key."""
    return {
        str(row["finding"]): f"{row['finding']} {row['kind']} ({shown(row['label'])})"
        for row in run.findings.to_dict("records")
    }


def marked_images(run: Run) -> list[MarkedImage]:
    """Every image that carries a finding, sorted by name."""
    names, root = names_of(run), run.card["dataset"]["root"]
    labels = dict(zip(run.images["image"], run.images["label"], strict=True))
    found = []
    for number, (image, rows) in enumerate(run.offenders.groupby("image", sort=True)):
        width, height = run.sizes[str(image)]
        marks = tuple(
            Mark(
                name=names[row["finding"]],
                finding=row["finding"],
                kind=row["kind"],
                score=float(row["score"]),
                tier=row["tier"],
                # What is of the whole image is a tag, not a box.
                box=None
                if row["kind"] in WHOLE
                else (float(row["x0"]), float(row["y0"]), float(row["x1"]), float(row["y1"])),
            )
            for row in rows.sort_values("rank").to_dict("records")
        )
        found.append(
            MarkedImage(
                number=number,
                name=str(image),
                path=str(image) if root is None else f"{root}/{image}",
                width=width,
                height=height,
                label=str(labels[image]),
                predicted=str(rows["predicted"].iloc[0]),
                marks=marks,
            )
        )
    return found
