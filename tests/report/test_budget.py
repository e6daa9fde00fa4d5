"""Budget: a page of very many findings and classes keeps its size, and says what it leaves out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import chromium, visiting
from handmade import CLASSES, handmade_run

from shortcut_finder.report import page as pages
from shortcut_finder.report import selection
from shortcut_finder.report.page import report_page, write_report
from shortcut_finder.report.selection import PICTURED_FINDINGS, listed_classes, report_images
from shortcut_finder.run.decisions import Decisions
from shortcut_finder.run.folder import Run, load_run

FINDINGS = 130
# Room for some findings with their pictures, far from all.
ROOM = 3_000_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return handmade_run(tmp_path_factory.mktemp("run"), findings=FINDINGS)


@pytest.fixture(scope="module")
def path(run: Run) -> Path:
    """The page of the run, with a decision on its last finding, which has no pictures there."""
    decided = Decisions(run.fingerprint, {f"F{FINDINGS}": "accept"}, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "PAGE_BYTES", ROOM)
        return write_report(run, decided)


def test_a_page_takes_what_it_may_and_not_more(path: Path) -> None:
    one_finding = 200_000
    assert ROOM - one_finding < path.stat().st_size <= ROOM


def test_the_findings_without_pictures_are_counted_and_said_to_be_where_they_are(
    path: Path, browser: Any
) -> None:
    with visiting(browser, path) as visit:
        articles = visit.page.locator("article.finding").count()
        assert 3 <= articles < PICTURED_FINDINGS
        assert visit.page.locator("#overview tbody tr").count() == FINDINGS
        (note,) = visit.page.locator("#findings > .hint", has_text="findings.json").all()
        said = note.inner_text()
        assert said.startswith(f"The strongest {articles} of {FINDINGS} findings stand here")
        assert "the table has all." in said
        assert "shortcut-finder review" in said
        # Those that stand here are linked, the others are not.
        assert visit.page.locator("#overview tbody a").count() == articles
        for link in visit.page.locator("#overview a, #classes td a, .worst a").all():
            assert visit.page.locator(str(link.get_attribute("href"))).count() == 1


def test_every_finding_can_be_searched_sorted_and_unfolded(path: Path, browser: Any) -> None:
    with visiting(browser, path) as visit:
        page = visit.page
        shown = page.locator("#overview tbody tr:not([hidden])")
        assert shown.count() == 100
        told = page.locator("#matching")
        assert told.inner_text() == f"{FINDINGS} of {FINDINGS} fit, the first 100 are shown"
        page.locator("#further").click()
        assert (shown.count(), told.inner_text()) == (FINDINGS, "130 of 130 shown")
        assert not page.locator("#further").is_visible()
        page.locator('[data-sort="order"]').click()
        assert shown.first.locator("td").first.inner_text() == f"F{FINDINGS}"
        assert shown.count() == 100
        page.locator('[data-filter="text"]').fill(f"f{FINDINGS}")
        assert (shown.count(), told.inner_text()) == (1, "1 of 130 shown")
        assert page.locator("article.finding:visible").count() == 0
        assert visit.complaints == []


def test_without_its_script_the_page_shows_all_rows(path: Path, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.locator("#overview tbody tr").last.is_visible()
    context.close()


@pytest.mark.parametrize("width", [360, 1280])
def test_a_page_of_many_findings_opens_without_complaint(
    path: Path, browser: Any, width: int
) -> None:
    with visiting(browser, path, width=width) as visit:
        assert (visit.requests, visit.complaints) == ([], [])
        assert visit.page.evaluate("document.documentElement.scrollWidth") == width


def test_a_decision_on_a_finding_without_pictures_is_counted(path: Path, browser: Any) -> None:
    with visiting(browser, path) as visit:
        assert visit.page.locator("#decided").inner_text() == f"1 of {FINDINGS} decided"


def test_a_table_of_too_many_findings_is_cut_and_says_so(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MAX_FINDINGS", 110)
    monkeypatch.setattr(pages, "PAGE_BYTES", 0)
    page = report_page(load_run(run.folder))
    assert len(page.rows) == 110
    # What the top of the page leads to is there in any case.
    assert [item.anchor for item in page.findings] == [item.anchor for item in page.worst]
    assert "the table has the strongest 110." in page.findings_note


def test_only_images_that_the_page_may_show_get_a_picture(run: Run) -> None:
    # The finding after the last with pictures is the only one of its images.
    template = [{"image": "its own", "box": [0, 0, 9, 9]}]
    details = [dict(detail) for detail in run.details]
    details[PICTURED_FINDINGS]["template"] = template
    assert "its own" not in report_images(dataclasses.replace(run, details=details))
    details[PICTURED_FINDINGS - 1]["template"] = template
    assert "its own" in report_images(dataclasses.replace(run, details=details))


def test_of_too_many_classes_those_with_findings_are_listed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert listed_classes(run) == list(CLASSES)
    monkeypatch.setattr(selection, "MAX_CLASSES", 4)
    found = {detail["label"] for detail in run.details}
    others = [name for name in CLASSES if name not in found]
    assert listed_classes(run) == [name for name in CLASSES if name != others[-1]]
    page = report_page(dataclasses.replace(run, details=run.details[:3]))
    assert page.classes_note == (
        "4 of 5 classes, those with findings before others; all are in run.json."
    )
