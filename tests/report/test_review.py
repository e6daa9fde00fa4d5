"""Review: the page sorts, filters, shows images large and keeps decisions, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browser import Visit, chromium, visiting
from handmade import HOSTILE, LONG, TAG, handmade_run, image_name

from shortcut_finder.report.page import write_report
from shortcut_finder.run.decisions import Decisions, read_decisions
from shortcut_finder.run.folder import Run


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    broken = {'daisy/<img src=x onerror="alert(1)">.jpg': "truncated", "x" * 300: "zero bytes"}
    return handmade_run(tmp_path_factory.mktemp("run"), unreadable=broken)


@pytest.fixture(scope="module")
def report(run: Run) -> Path:
    return write_report(run)


@contextmanager
def reviewing(browser: Any, report: Path) -> Iterator[Visit]:
    with visiting(browser, report) as opened:
        opened.page.emulate_media(reduced_motion="reduce")
        yield opened
        assert opened.complaints == []
        assert opened.requests == []


@pytest.fixture
def visit(browser: Any, report: Path) -> Iterator[Visit]:
    with reviewing(browser, report) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared(browser: Any, report: Path) -> Iterator[Visit]:
    """A page for tests that leave it as they found it; to open one takes longer than they do."""
    with reviewing(browser, report) as opened:
        yield opened


def listed(visit: Visit) -> list[str]:
    """The findings in the table and, in the same order, below it."""
    rows = visit.page.locator("#overview tbody tr:visible td:first-child").all_text_contents()
    articles = visit.page.locator("article[data-finding]:visible .eyebrow b").all_text_contents()
    assert rows == articles
    return rows


def decision(visit: Visit, finding: str) -> str:
    return visit.page.locator(f"article[data-finding={finding}]").get_attribute("data-decision")


def saved(visit: Visit, folder: Path) -> Path:
    with visit.page.expect_download() as download:
        visit.page.click("#download")
    assert download.value.suggested_filename == "decisions.json"
    path = folder / "decisions.json"
    download.value.save_as(path)
    return path


@pytest.mark.parametrize(
    ("name", "value", "left"),
    [
        ("Class", TAG, ["F1"]),
        ("Class", LONG, ["F3"]),
        ("What", "patch", ["F2"]),
        ("Severity", "high", ["F1", "F2"]),
        ("Verdict", "present", ["F3"]),
        ("Decision", "accept", []),
    ],
)
def test_findings_are_filtered(shared: Visit, name: str, value: str, left: list[str]) -> None:
    filters = shared.page.locator("#filters")
    filters.get_by_label(name).select_option(value)
    assert listed(shared) == left
    assert shared.page.locator("#matching").text_content() == f"{len(left)} of 3 shown"
    filters.get_by_label(name).select_option("")
    assert listed(shared) == ["F1", "F2", "F3"]


def test_findings_are_found_by_text(shared: Visit) -> None:
    field = shared.page.locator("#filters").get_by_label("Text")
    field.fill("BRIGHTER")
    assert listed(shared) == ["F3"]
    field.fill("")
    assert listed(shared) == ["F1", "F2", "F3"]


def test_findings_are_sorted_both_ways_and_back(visit: Visit) -> None:
    header = visit.page.locator("#overview th", has_text="Elsewhere")
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert listed(visit) == ["F1", "F2", "F3"]
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert listed(visit) == ["F2", "F3", "F1"]
    visit.page.get_by_role("button", name="Class", exact=True).click()
    assert listed(visit) == ["F2", "F3", "F1"]
    assert visit.page.locator("#overview [aria-sort]").count() == 1
    visit.page.get_by_role("button", name="Finding", exact=True).click()
    assert listed(visit) == ["F1", "F2", "F3"]


def test_a_finding_that_was_not_tested_comes_last_by_reliance(visit: Visit) -> None:
    visit.page.get_by_role("button", name="Reliance").click()
    assert listed(visit) == ["F1", "F3", "F2"]


def test_findings_are_decided_by_keyboard_and_a_second_press_takes_it_back(visit: Visit) -> None:
    page = visit.page
    page.keyboard.press("j")
    page.keyboard.press("a")
    page.keyboard.press("j")
    page.keyboard.press("d")
    page.keyboard.press("j")
    page.keyboard.press("u")
    assert [decision(visit, f"F{n}") for n in (1, 2, 3)] == ["accept", "dismiss", "unsure"]
    assert page.locator("#decided").text_content() == "3 of 3 decided"
    assert page.locator("#overview .decision").all_inner_texts() == ["accept", "dismiss", "unsure"]
    pressed = page.locator("#finding-2 [aria-pressed=true]")
    assert pressed.text_content().startswith("Dismiss")
    page.keyboard.press("k")
    page.keyboard.press("d")
    assert decision(visit, "F2") == ""
    assert page.locator("#decided").text_content() == "2 of 3 decided"


def test_keys_typed_into_a_field_decide_nothing(shared: Visit) -> None:
    field = shared.page.locator("#filters").get_by_label("Text")
    field.type("daujkm")
    assert [decision(shared, f"F{n}") for n in (1, 2, 3)] == ["", "", ""]
    assert shared.page.locator("#heat").is_checked()
    field.fill("")


def test_images_are_decided_by_keyboard_and_walked_with_arrows(visit: Visit) -> None:
    page = visit.page
    tiles = page.locator("#finding-1 .tile")
    tiles.first.locator(".open").focus()
    page.keyboard.press("d")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("a")
    assert [tiles.nth(n).get_attribute("data-decision") for n in range(3)] == [
        "dismiss",
        "accept",
        "",
    ]
    assert decision(visit, "F1") == ""
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert tiles.last.locator(".open").evaluate("button => button === document.activeElement")


def test_image_opens_large_with_its_box_and_is_decided_there(visit: Visit) -> None:
    page = visit.page
    page.locator("#finding-1 .tile .open").nth(1).click()
    viewer = page.locator("#viewer")
    assert viewer.is_visible()
    assert viewer.locator("#viewer-name").text_content() == image_name(TAG, 1)
    large = viewer.locator(".frame").bounding_box()
    small = page.locator("#finding-1 .tile .frame").nth(1).bounding_box()
    assert large["height"] > 3 * small["height"]
    assert large["width"] / large["height"] == pytest.approx(360 / 480, rel=0.01)
    assert viewer.locator(".box").count() == 1
    layer = viewer.locator(".layer")
    assert layer.evaluate("element => getComputedStyle(element).opacity") == "1"
    page.keyboard.press("m")
    assert layer.evaluate("element => getComputedStyle(element).opacity") == "0"
    assert viewer.locator(".box").is_visible()
    href = viewer.locator("#viewer-link").get_attribute("href")
    assert (
        href
        == "file:///data/photos/daisy/001%20it's%20%22the%22%20%3Cb%3Eone%3C%2Fb%3E.png".replace(
            "%2F", "/"
        )
    )
    page.keyboard.press("u")
    assert viewer.locator("[aria-pressed=true]").text_content().startswith("Unsure")
    page.keyboard.press("ArrowRight")
    assert viewer.locator("#viewer-name").text_content() == image_name(TAG, 2)
    assert viewer.locator("[aria-pressed=true]").count() == 0
    viewer.get_by_role("button", name="Accept").click()
    page.keyboard.press("Escape")
    assert not viewer.is_visible()
    tiles = page.locator("#finding-1 .tile")
    assert [tiles.nth(n).get_attribute("data-decision") for n in range(3)] == [
        "",
        "unsure",
        "accept",
    ]
    assert decision(visit, "F1") == ""


def test_decisions_are_downloaded_and_read_back(visit: Visit, run: Run, tmp_path: Path) -> None:
    page = visit.page
    page.locator("#finding-1").get_by_role("button", name="Accept").click()
    page.locator("#finding-2").get_by_role("button", name="Unsure").click()
    page.locator("#finding-2").get_by_role("button", name="Unsure").click()
    page.locator("#finding-2 .tile .open").nth(3).focus()
    page.keyboard.press("d")
    path = saved(visit, tmp_path)
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "schema_version": 1,
        "run": run.fingerprint,
        "findings": {"F1": "accept"},
        "images": {image_name(HOSTILE, 3): {"F2": "dismiss"}},
    }
    assert read_decisions(path, run).findings == {"F1": "accept"}


def test_decisions_outlive_a_reload_and_stay_with_their_run(
    visit: Visit, run: Run, tmp_path: Path
) -> None:
    page = visit.page
    page.locator("#finding-3").get_by_role("button", name="Dismiss").click()
    page.locator("#finding-1 .tile .open").first.focus()
    page.keyboard.press("a")
    page.reload()
    assert decision(visit, "F3") == "dismiss"
    assert page.locator("#finding-1 .tile").first.get_attribute("data-decision") == "accept"
    assert page.locator("#decided").text_content() == "1 of 3 decided"
    assert page.evaluate("Object.keys(localStorage)") == [f"shortcut-finder {run.fingerprint}"]


def test_page_made_with_decisions_shows_them_and_they_can_be_taken_back(
    browser: Any, tmp_path: Path
) -> None:
    run = handmade_run(tmp_path, maps=False)
    images = {image_name(TAG, 2): {"F1": "dismiss"}}
    page = write_report(run, Decisions(run.fingerprint, {"F1": "accept", "F2": "unsure"}, images))
    with visiting(browser, page) as visit:
        assert [decision(visit, f"F{n}") for n in (1, 2, 3)] == ["accept", "unsure", ""]
        assert visit.page.locator("#finding-1 .tile").nth(2).get_attribute("data-decision") == (
            "dismiss"
        )
        visit.page.locator("#finding-2").get_by_role("button", name="Unsure").click()
        visit.page.reload()
        assert [decision(visit, f"F{n}") for n in (1, 2, 3)] == ["accept", "", ""]
        content = json.loads(saved(visit, tmp_path).read_text(encoding="utf-8"))
        assert content["findings"] == {"F1": "accept"}
        assert content["images"] == images
        assert visit.complaints == []


def test_offenders_are_searched_and_link_to_their_files(shared: Visit) -> None:
    page = shared.page
    rows = page.locator("#listing tbody tr")
    assert rows.count() == 29
    assert page.locator("#listing tbody img").count() == 29
    page.locator("#needle").fill("日本")
    assert page.locator("#found").text_content() == f"{rows.count()} of 29 rows"
    assert rows.count() == 2 + 1 + 3
    page.locator("#carried").select_option("F2")
    assert rows.count() == 1
    assert rows.first.locator("a").get_attribute("href").startswith("file:///data/photos/%3Cscript")
    assert rows.first.locator("a bdi").text_content() == image_name(HOSTILE, 3)
    page.locator("#needle").fill("no such thing")
    assert rows.count() == 0
    page.locator("#needle").fill("")
    page.locator("#carried").select_option("")
    assert rows.count() == 29


def test_offenders_are_filtered_by_tier(browser: Any, tmp_path: Path, shared: Visit) -> None:
    assert shared.page.locator("#tier").count() == 0, "nothing to choose where all are sure"
    page = write_report(handmade_run(tmp_path, tiers=True))
    with visiting(browser, page) as opened:
        rows = opened.page.locator("#listing tbody tr")
        for tier, left in (("", 29), ("sure", 6 + 6), ("likely", 3 + 14)):
            opened.page.locator("#tier").select_option(tier)
            assert rows.count() == left
            column = set(rows.locator("td:nth-child(6)").all_text_contents())
            assert column == ({tier} if tier else {"sure", "likely"})
        opened.page.locator("#carried").select_option("F1")
        assert rows.count() == 3
        marked = opened.page.locator("#finding-1 .tile .mark")
        assert marked.all_text_contents() == ["likely"] * 3
        assert opened.complaints == []


def test_a_decision_on_an_image_shows_in_the_table_of_offenders(visit: Visit) -> None:
    visit.page.locator("#finding-1 .tile .open").first.focus()
    visit.page.keyboard.press("a")
    assert visit.page.locator("#listing .decision").first.text_content() == "accept"


def test_page_works_where_nothing_can_be_stored(browser: Any, report: Path) -> None:
    with visiting(browser, report) as visit:
        visit.page.add_init_script(
            "Object.defineProperty(window, 'localStorage', {get() { throw new Error('no'); }})"
        )
        visit.page.reload()
        visit.page.locator("#finding-1").get_by_role("button", name="Accept").click()
        assert decision(visit, "F1") == "accept"
        assert visit.complaints == []


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_no_serious_violation(browser: Any, report: Path, dark: bool) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")

    def serious(context: str | None = None) -> list[tuple[str, str, str]]:
        found = axe.Axe().run(visit.page, context=context).response["violations"]
        return [
            (rule["id"], rule["nodes"][0]["html"][:200], rule["nodes"][0]["failureSummary"][:300])
            for rule in found
            if rule["impact"] in ("serious", "critical")
        ]

    with visiting(browser, report, dark=dark) as visit:
        visit.page.locator("#finding-1").get_by_role("button", name="Accept").click()
        for width in (360, 1280):
            visit.page.set_viewport_size({"width": width, "height": 900})
            assert serious() == []
            visit.page.locator("#finding-1 .open").first.click()
            assert serious("#viewer") == []
            visit.page.keyboard.press("Escape")
