"""Tables of the detection benchmark: what rows of its cases come to, as text and as figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from rows import add_row, same
from scoring import LEVELS, bootstrap_interval
from shares import share_of
from splits import pairs

# What the levels are called on the page.
NAMES = {"loud": "above low, or confirmed", "confirmed": "confirmed"}
WHOLE = ("frame", "tint", "background", "blur")
RANKED = ("ap", "recall_k", "recall_1.2k", "ap_all")

Figures = list[dict[str, Any]]


def tables(rows: pd.DataFrame) -> str:
    """The figures of one split, with 95% intervals, as text."""
    parts = [case_table(rows)]
    planted, controls = planted_rows(rows), control_rows(rows)
    if len(planted):
        parts += [_finding_table(planted), _ranking_table(planted)]
    if len(controls):
        parts.append(_control_table(controls))
    if "passes" in rows:
        parts.append(_cost_table(rows))
    return "\n\n".join(part for part in parts if part)


def planted_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Cases with something to be found."""
    return rows[rows["control"] == ""]


def control_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Cases that must be silent."""
    return rows[rows["control"] != ""]


def record(split: str, rows: pd.DataFrame, of: int) -> None:
    """Write what the cases of a split come to.

    Args:
        split: its name.
        rows: of the cases that were run.
        of: how many cases the split has.
    """
    planted, controls = planted_rows(rows), control_rows(rows)
    seeds = rows["seed"]
    origin = {
        "seeds": f"{seeds.min():,} to {seeds.max():,}",
        # Cases that were run by several versions are of none.
        "commit": same(rows["commit"].fillna("")) if "commit" in rows else "",
        "command": f"make bench-detect SPLIT={split} OUT=FOLDER",
    }
    for one in finding_figures(planted):
        if one["level"] in NAMES and (one["learned"] or one["wrong"]):
            level = NAMES[one.pop("level")]
            add_row(
                "detection",
                split=split,
                level=level,
                **one,
                n=f"{len(rows)} of {of} cases",
                **origin,
            )
    for one in ranking_figures(planted):
        if one.pop("measure") == "ap":
            add_row("ranking", split=split, **one, **origin)
    for one in control_figures(controls):
        add_row("controls", split=split, **one, **origin)
    for one in pair_figures(rows):
        add_row("pairs", **one, **origin)


# --- cases and cost ------------------------------------------------------------------------------


def case_table(rows: pd.DataFrame) -> str:
    """Some lines for each case."""
    lines = []
    for row in rows.to_dict("records"):
        scores = "/".join(f"{value:.2f}" for value in row["spurious_score"]) or "-"
        ranked = not np.isnan(row.get("ap", np.nan))
        found = f"found {row['found_loud']}/{row['learned_loud']}" if row["learned_loud"] else ""
        lines.append(
            f"{row['case']:52s} acc {row['accuracy']:.2f} score {scores} "
            f"{'/'.join(row['status'])} {found} loud-false {row['false_loud']} "
            f"confirmed-false {row['false_confirmed']}"
            + (f" AP {row['ap']:.2f} R@1.2k {row['recall_1.2k']:.2f}" if ranked else "")
            + f" {row['seconds_built']:.0f}+{row['seconds_scanned']:.0f}s"
        )
        lines += [f"    {finding}" for finding in row["findings"][:4]]
        if ranked:
            best = sorted(row["baselines"].items(), key=lambda item: -item[1])[:3]
            lines.append("    baselines: " + ", ".join(f"{k} {v:.2f}" for k, v in best))
    return "\n".join(lines)


def _cost_table(rows: pd.DataFrame) -> str:
    """What experiments cost, in forward passes; a sweep takes one an image."""
    spent = pd.DataFrame(list(rows["passes"].dropna()))
    each = spent["verify"].sum() / max(spent["findings"].sum(), 1)
    return (
        f"Experiments: {each:.0f} forward passes a finding, for 20 findings {20 * each / 1e4:.0%} "
        "of a sweep of 10,000 images"
    )


# --- findings ------------------------------------------------------------------------------------


def finding_figures(rows: pd.DataFrame) -> Figures:
    """By what share of a class carries the cue, and by level: what was learned, found and wrong."""
    figures = []
    for carriers, chosen in (
        ("a tenth of a class or more", rows["share"] >= 0.1),
        ("less than a tenth", rows["share"] < 0.1),
        ("changes of the whole picture", rows["kind"].isin(WHOLE)),
    ):
        part = rows[chosen]
        figures += [
            {
                "carriers": carriers,
                "level": level,
                "found": int(part[f"found_{level}"].sum()),
                "learned": int(part[f"learned_{level}"].sum()),
                "wrong": int(part[f"false_{level}"].sum()),
                "fragments": int(part[f"fragments_{level}"].sum()),
                "rank": part[f"rank_{level}"].median(),
            }
            for level in LEVELS
        ]
    return figures


def _finding_table(rows: pd.DataFrame) -> str:
    lines = ["Findings (learned cues)"]
    lines += [
        f"  {one['carriers']:28s} {one['level']:10s}"
        f"  recall {share_of(one['found'], one['learned'])}"
        f"  precision {share_of(one['found'], one['found'] + one['wrong'])}"
        f"  fragments {one['fragments']}  first at rank {one['rank']:.0f}"
        for one in finding_figures(rows)
    ]
    return "\n".join(lines)


# --- ranking of images ---------------------------------------------------------------------------


def ranked_parts(rows: pd.DataFrame) -> Mapping[str, pd.DataFrame]:
    """Cases with a learned plant and images with and without it, by place; those there are."""
    if "ap" not in rows:
        return {}
    learned = rows["status"].map(lambda status: "learned" in status)
    ranked = rows[learned & rows["ap"].notna()]
    parts = {
        "all places": ranked,
        "random places": ranked[ranked["place"].str.contains("random")],
    }
    return {title: part for title, part in parts.items() if len(part)}


def ranking_figures(rows: pd.DataFrame) -> Figures:
    """Median and range of each measure over cases, with the interval of the median."""
    figures = []
    for title, part in ranked_parts(rows).items():
        for measure in RANKED:
            low, high = bootstrap_interval(part[measure].to_numpy())
            figures.append(
                {
                    "places": title,
                    "measure": measure,
                    "n": len(part),
                    "median": part[measure].median(),
                    "median_low": low,
                    "median_high": high,
                    "least": part[measure].min(),
                }
            )
    return figures


def _ranking_table(rows: pd.DataFrame) -> str:
    """Median over cases with a learned plant, and the paired difference to each baseline."""
    lines = []
    figures = ranking_figures(rows)
    for title, part in ranked_parts(rows).items():
        lines.append(f"Ranking of images, {title} ({len(part)} cases)")
        lines += [
            f"  {one['measure']:34s} median {one['median']:.2f} "
            f"({one['median_low']:.2f} to {one['median_high']:.2f})"
            for one in figures
            if one["places"] == title
        ]
        table = pd.DataFrame(list(part["baselines"]), index=part.index)
        table["best of them"] = table.max(axis=1)
        for name in table:
            gain = (part["ap"] - table[name]).to_numpy()
            low, high = bootstrap_interval(gain, "mean")
            lines.append(
                f"  {name:34s} median {table[name].median():.2f}  "
                f"ours minus it, mean {gain.mean():+.2f} ({low:+.2f} to {high:+.2f})"
            )
    return "\n".join(lines)


# --- controls and pairs --------------------------------------------------------------------------


def control_figures(rows: pd.DataFrame) -> Figures:
    """By control: cases, those with a finding above low, and with a confirmed one."""
    figures = []
    for control, part in rows.groupby("control"):
        if control == "ignored":
            part = part[part["status"].map(lambda status: status == ["ignored"])]
        loud, confirmed = (part["wrong_loud"] > 0).sum(), (part["wrong_confirmed"] > 0).sum()
        figures.append(
            {
                "control": str(control),
                "n": len(part),
                "loud": int(loud),
                "confirmed": int(confirmed),
            }
        )
    return figures


def _control_table(rows: pd.DataFrame) -> str:
    lines = ["Controls: cases with a finding above low, and with a confirmed one"]
    lines += [
        f"  {one['control']:16s} loud {share_of(one['loud'], one['n'])}  "
        f"confirmed {share_of(one['confirmed'], one['n'])}"
        for one in control_figures(rows)
    ]
    return "\n".join(lines)


def pair_figures(rows: pd.DataFrame) -> Figures:
    """By kind of cue: how well the strongest finding tells which network relies on it."""
    from sklearn.metrics import roc_auc_score

    known = rows.set_index("case")
    figures = []
    for kind in sorted({one.plants[0].kind for one, _ in pairs()}):
        both = [
            pair
            for pair in pairs()
            if pair[0].plants[0].kind == kind and all(case.name in known.index for case in pair)
        ]
        for name in ("top_suspicion", "top_reliance") if both else ():
            relying, normal = (
                [float(known.loc[pair[side].name, name]) for pair in both] for side in (0, 1)
            )
            truth = [1] * len(both) + [0] * len(both)
            area = float(roc_auc_score(truth, relying + normal))
            figures.append({"kind": kind, "by": name, "area": area, "n": len(both)})
    return figures


def pair_table(rows: pd.DataFrame) -> str:
    """How well the strongest finding tells networks that rely on a cue from those that do not."""
    lines = ["Networks that rely on a cue against networks that never saw it (AUROC)"]
    lines += [
        f"  {one['kind']:8s} {one['by']:14s} {one['area']:.2f} ({one['n']} pairs)"
        for one in pair_figures(rows)
    ]
    return "\n".join(lines)
