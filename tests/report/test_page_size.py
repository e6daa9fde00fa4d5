"""Page size: a page of many images, classes and findings can be mailed and opens at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import chromium, reloaded, visiting
from large import large_run

from shortcut_finder.report.page import write_report
from shortcut_finder.report.selection import SHEET_FINDINGS


def opened(page: Path) -> tuple[float, int]:
    """Seconds of the processor that a browser takes to open a page, and the articles it has."""
    with chromium() as browser, visiting(browser, page) as visit:
        times = reloaded(visit)
        print(f"{page.stat().st_size / 1e6:.1f} MB, {times}")  # noqa: T201
        assert visit.complaints == []
        return times["busy"], visit.page.locator("article.finding").count()


@pytest.mark.slow
def test_page_of_many_images_and_findings_is_small_and_opens_at_once(tmp_path: Path) -> None:
    run = large_run(tmp_path, images=10_000, findings=SHEET_FINDINGS, carriers=300)
    page = write_report(run)
    assert page.stat().st_size <= 15e6
    busy, articles = opened(page)
    assert busy < 2
    assert articles == SHEET_FINDINGS


@pytest.mark.slow
def test_page_of_a_thousand_classes_is_small_and_opens_at_once(tmp_path: Path) -> None:
    run = large_run(
        tmp_path,
        images=20_000,
        findings=2000,
        carriers=15,
        classes=[f"kind {number:04d}" for number in range(1000)],
    )
    page = write_report(run)
    assert page.stat().st_size <= 15e6
    busy, articles = opened(page)
    assert busy < 2
    assert articles >= 10
