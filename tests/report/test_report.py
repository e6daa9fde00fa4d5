from __future__ import annotations

import base64
import dataclasses
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pytest
from browser import Visit, chromium, visiting
from handmade import (
    CLASSES,
    HOSTILE,
    LONG,
    PER_CLASS,
    TAG,
    handmade_run,
    image_name,
)
from PIL import Image

from shortcut_finder.figures.pictures import read_thumbnails
from shortcut_finder.report.finding import tiers_text
from shortcut_finder.report.page import Page, render, report_page, write_report
from shortcut_finder.report.summary import headline, lead
from shortcut_finder.run.folder import Run, load_run, save_run

BROKEN = {'daisy/<img src=x onerror="alert(1)">.jpg': "truncated", "x" * 300: "zero bytes"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return handmade_run(tmp_path_factory.mktemp("run"), unreadable=BROKEN)


@pytest.fixture(scope="module")
def report(run: Run) -> Path:
    return write_report(run)


@pytest.fixture(scope="module")
def page(run: Run) -> Page:
    return report_page(run)


@pytest.fixture(scope="module")
def opened(browser: Any, report: Path) -> Iterator[Visit]:
    """The page for tests that only look; those that press, point or print open their own."""
    with visiting(browser, report) as visit:
        yield visit


@pytest.fixture(scope="module")
def cropped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cropped")
    return write_report(handmade_run(folder, findings=20, resize="crop"))


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(handmade_run(tmp_path_factory.mktemp("clean"), findings=0))


@pytest.fixture(scope="module")
def tiered(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return handmade_run(tmp_path_factory.mktemp("tiered"), tiers=True)


def scrolled_at(visit: Visit, width: int) -> int:
    """How wide the page is in a window of that width."""
    visit.page.set_viewport_size({"width": width, "height": 900})
    return int(visit.page.evaluate("document.documentElement.scrollWidth"))


@pytest.mark.parametrize("dark", [False, True])
def test_page_opens_without_complaint_request_or_sideways_scroll(
    browser: Any, report: Path, dark: bool
) -> None:
    with visiting(browser, report, width=360, dark=dark) as visit:
        widths = [360, 1280, 2560]
        assert [scrolled_at(visit, width) for width in widths] == widths
        assert visit.requests == []
        assert visit.complaints == []


@pytest.mark.parametrize("shown", ["cropped", "clean"])
def test_twenty_findings_and_none_open_without_complaint(
    browser: Any, shown: str, request: pytest.FixtureRequest
) -> None:
    with visiting(browser, request.getfixturevalue(shown), width=360) as visit:
        assert visit.requests == []
        assert visit.complaints == []
        assert visit.page.evaluate("document.documentElement.scrollWidth") == 360


def test_every_picture_of_the_page_can_be_drawn(opened: Visit) -> None:
    assert opened.page.locator("img.photo").count() > 50
    sheets, galleries, confusions = 9 + 6 + 12, 6 * len(CLASSES), 2 * 2 + 2 * 2
    assert opened.page.locator("img.layer").count() == sheets + galleries + confusions
    broken = opened.page.evaluate(
        "Promise.all([...document.images].map(i => i.decode().then(() => 0, () => 1)))"
    )
    assert broken == [0] * len(broken)


def test_page_cannot_reach_the_network_even_if_something_slips_in(
    browser: Any, report: Path
) -> None:
    with visiting(browser, report) as visit:
        visit.page.evaluate(
            """() => {
                const image = new Image(); image.src = "https://example.invalid/a.png";
                document.body.append(image);
                const script = document.createElement("script"); script.textContent = "window.x=1";
                document.body.append(script);
            }"""
        )
        visit.page.wait_for_timeout(100)
        assert visit.requests == []
        assert visit.page.evaluate("window.x") is None
        assert len(visit.complaints) == 2


def test_hostile_names_are_text(opened: Visit) -> None:
    page = opened.page
    assert page.title() == "Shortcuts in photos <i>2024</i>"
    assert page.locator("script").count() == 2  # the page's own, and its data
    assert page.locator("i, b:text('one')").count() == 0
    assert page.locator("#classes th[scope=row]").all_inner_texts() == [
        name if name != LONG else page.locator("#classes th bdi").nth(2).inner_text()
        for name in CLASSES
    ]
    assert page.locator("#classes th bdi").nth(2).get_attribute("title") == LONG
    assert page.locator("#unreadable th[scope=row]").all_inner_texts() == list(BROKEN)
    assert HOSTILE in page.locator("#finding-2 h3").text_content()


def test_class_map_lies_on_the_mark_that_it_fires_at(opened: Visit) -> None:
    tiles = opened.page.locator("#finding-2 .tiles .frame")
    assert tiles.count() == 6
    for tile in tiles.all():
        box = tile.locator(".box").bounding_box()
        hottest = tile.evaluate(
            """async frame => {
                const layer = frame.querySelector(".layer"); await layer.decode();
                const canvas = document.createElement("canvas");
                const [w, h] = [layer.naturalWidth, layer.naturalHeight];
                canvas.width = w; canvas.height = h;
                const context = canvas.getContext("2d"); context.drawImage(layer, 0, 0);
                const data = context.getImageData(0, 0, w, h).data;
                let [sum, x, y] = [0, 0, 0];
                for (let i = 0; i < w * h; i++) {
                    const value = data[4 * i + 1] * (data[4 * i + 3] > 100);
                    sum += value; x += value * (i % w + .5) / w; y += value * (i / w | 0) / h;
                }
                const shape = layer.getBoundingClientRect();
                return [shape.x + shape.width * x / sum, shape.y + shape.height * y / sum];
            }"""
        )
        frame = tile.bounding_box()
        # One cell of the 7x7 map is as near as the map itself can tell.
        assert abs(hottest[0] - box["x"] - box["width"] / 2) < frame["width"] / 7
        assert abs(hottest[1] - box["y"] - box["height"] / 2) < frame["height"] / 7


def test_pointing_or_the_m_key_shows_the_plain_image(browser: Any, report: Path) -> None:
    with visiting(browser, report) as visit:
        page = visit.page
        page.emulate_media(reduced_motion="reduce")
        tile = page.locator("#finding-1 .tiles .picture").first
        opacity = "element => getComputedStyle(element).opacity"
        layer = tile.locator(".layer")
        assert layer.evaluate(opacity) == "1"
        tile.hover()
        assert layer.evaluate(opacity) == "0"
        page.mouse.move(0, 0)
        assert layer.evaluate(opacity) == "1"
        page.keyboard.press("m")
        assert layer.evaluate(opacity) == "0"
        assert not page.locator("#heat").is_checked()
        page.keyboard.press("m")
        assert layer.evaluate(opacity) == "1"


def test_keyboard_reaches_the_findings_and_opens_the_numbers(browser: Any, report: Path) -> None:
    with visiting(browser, report) as visit:
        page = visit.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.url.endswith("#finding-1")
        page.locator("#finding-1 summary").focus()
        page.keyboard.press("Enter")
        assert page.locator("#finding-1 details dd").first.is_visible()


def test_printing_opens_what_is_folded_and_hides_the_navigation(browser: Any, report: Path) -> None:
    with visiting(browser, report) as visit:
        page = visit.page
        page.set_viewport_size({"width": 720, "height": 1000})  # an A4 sheet
        page.emulate_media(media="print")
        assert page.evaluate("document.documentElement.scrollWidth") == 720
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert page.locator("details:not([open])").count() == 0
        assert not page.locator(".bar-nav").is_visible()
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.locator("details[open]").count() == 0


def test_headings_never_skip_a_level_and_every_picture_has_a_text(opened: Visit) -> None:
    levels = opened.page.evaluate(
        "[...document.querySelectorAll('h1,h2,h3,h4,h5')].map(h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert opened.page.locator("img:not([alt])").count() == 0
    ids = opened.page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


def test_the_same_run_gives_the_same_bytes(run: Run, report: Path) -> None:
    first = report.read_bytes()
    assert write_report(load_run(run.folder)).read_bytes() == first


def test_page_of_a_run_in_memory_is_the_page_of_its_folder(tmp_path: Path) -> None:
    run = handmade_run(tmp_path)
    # The folder keeps six digits, so this run reads 43% and its folder 42%.
    detail = {**run.details[0], "share": 0.4250000001, "numbers": {"b": 1 / 3, "a": 2.0}}
    run = dataclasses.replace(run, details=[detail, *run.details[1:]])
    save_run(run)
    page = write_report(run).read_bytes()
    assert write_report(load_run(tmp_path)).read_bytes() == page


def test_twenty_findings_fit_into_the_size_of_a_letter(cropped: Path) -> None:
    assert cropped.stat().st_size < 15e6


def test_headline_says_in_one_sentence_what_the_model_relies_on(page: Page) -> None:
    assert (page.headline, page.named) == (
        "The model relies on 1 shortcut",
        "a corner mark in daisy",
    )
    assert page.lead == (
        "70 images were looked at, and 2 things were found: 1 is confirmed and 1 is suspected. 15 "
        "images carry at least one of them. 1 minor thing may well be a true part of its class."
    )
    assert page.tone == "high"
    assert len(page.worst) == 3
    assert [len(view.worst) for view in page.worst] == [3, 3, 3]


def test_a_run_with_minor_findings_alone_says_that_nothing_else_was_found(run: Run) -> None:
    low = [{**detail, "severity": "low"} for detail in run.details]
    assert lead(dataclasses.replace(run, details=low)) == (
        "70 images were looked at. 3 minor things may well be true parts of their classes; nothing "
        "else was found."
    )


def verdict_on(*findings: tuple[str, str]) -> str:
    details = [
        {"label": f"class {n}", "kind": "frame", "severity": severity, "verdict": verdict}
        for n, (severity, verdict) in enumerate(findings)
    ]
    return ": ".join(part for part in headline(details) if part)


def test_headline_never_says_more_than_the_verdicts() -> None:
    assert verdict_on() == "Nothing suspicious found"
    assert verdict_on(("low", "suspect"), ("high", "present")) == (
        "Nothing stands out: 2 minor things to check"
    )
    assert verdict_on(("high", "suspect")) == (
        "1 likely shortcut, none confirmed by an experiment: a frame in class 0"
    )
    assert verdict_on(*[("high", "confirmed")] * 5) == (
        "The model relies on 5 shortcuts: "
        "a frame in class 0, a frame in class 1, a frame in class 2 and 2 more"
    )


def test_finding_shows_its_shares_parts_and_numbers(page: Page) -> None:
    view = page.findings[0]
    assert [(bar.name, bar.value) for bar in view.shares] == [
        ("daisy", "64%"),
        ("all other classes", "0.4%"),
    ]
    assert [bar.width for bar in view.shares] == ["width:64.29%", "width:0.4%"]
    assert [(bar.name, bar.value) for bar in view.parts] == [
        ("border", "1.00"),
        ("repetition", "0.99"),
        ("off object", "0.60"),
        ("unneeded", "0.00"),
    ]
    assert dict(view.numbers)["share p"] == "4.1e-13"
    assert dict(view.numbers)["paste flips"] == "–"
    assert view.reliance == "0.61"
    assert [picture.caption for picture in view.maps] == [
        "images with it",
        "the class's other images",
    ]
    assert view.maps[0].boxes == ("left:0%;top:0%;width:28.57%;height:28.57%",)
    assert len(view.sheet) == 9
    assert view.sheet[0].boxes == ("left:0.8333%;top:1.111%;width:25%;height:16.67%",)
    assert view.sheet[6].note.startswith("score 0.69, seen as ")


def test_metadata_says_where_a_finding_comes_from(page: Page) -> None:
    (origin,) = page.findings[0].metadata
    assert origin.sentence.startswith("All images with it come from source <b>LAB 7</b>")
    assert [bar.value for bar in origin.bars] == ["100%", "12%"]
    assert page.findings[1].metadata == ()


def test_first_sentence_stands_alone(run: Run, page: Page) -> None:
    said = ["1.5% of St. Bernard carry it.", "It repeats.", "Pasted, it wins."]
    told: list[tuple[Any, tuple[str, str]]] = [
        (said, ("1.5% of St. Bernard carry it.", "It repeats. Pasted, it wins.")),
        # A run of an earlier version, or one that was written by hand.
        (None, (" ".join(said), "")),
        ("1.5%", (" ".join(said), "")),
    ]
    details = [
        {**detail, "sentence": " ".join(said), "sentences": sentences}
        for detail, (sentences, _) in zip(run.details, told, strict=True)
    ]
    views = report_page(dataclasses.replace(run, details=details)).findings
    assert [(view.sentence, view.more) for view in views] == [seen for _, seen in told]
    assert page.findings[0].more == ""


def test_very_long_class_name_is_cut_in_the_sentence_but_not_lost(page: Page) -> None:
    view = page.findings[2]
    assert len(view.sentence) < 120
    assert view.label == LONG


def test_run_without_findings_gives_a_calm_page(clean: Path, browser: Any) -> None:
    with visiting(browser, clean) as visit:
        assert visit.page.locator("h1").inner_text() == "Nothing suspicious found"
        assert "no proof" in visit.page.locator(".lead").inner_text()
        assert visit.page.locator("#findings, #unreadable, .worst, #heat").count() == 0
        assert visit.page.locator("#classes, #scan").count() == 2
        assert visit.page.locator("#confusions, #offenders, #viewer").count() == 0


def test_missing_thumbnails_and_maps_are_said_and_the_page_still_works(
    tmp_path: Path, browser: Any
) -> None:
    run = handmade_run(tmp_path, thumbnails=False, maps=False)
    with visiting(browser, write_report(run)) as visit:
        warnings = visit.page.locator(".warnings").inner_text()
        assert "no thumbnails.parquet" in warnings
        assert "no shards" in warnings
        assert visit.page.locator("#finding-1 .tiles .frame.empty").count() == 9
        assert visit.complaints == []


def test_finding_without_offenders_template_maps_or_place_is_still_shown(run: Run) -> None:
    bare = {**run.details[0], "maps": {}, "place": [], "template": [], "numbers": {}}
    changed = dataclasses.replace(run, details=[bare], offenders=run.offenders.head(0))
    view = report_page(changed).findings[0]
    assert (view.maps, view.place, view.template, view.sheet) == ((), None, (), ())
    assert b'id="finding-1"' in render("report.html", report_page(changed))


def test_property_finding_has_no_box(page: Page) -> None:
    assert all(picture.boxes == () for picture in page.findings[2].sheet)


def test_box_around_the_whole_image_is_not_drawn(run: Run) -> None:
    offenders = run.offenders.assign(x0=0, y0=0, x1=900, y1=480)
    page = report_page(dataclasses.replace(run, offenders=offenders))
    assert all(picture.boxes == () for picture in page.findings[0].sheet)


def test_thing_that_lies_anywhere_does_not_look_as_if_it_lay_in_one_place(page: Page) -> None:
    place = page.findings[1].place
    assert place is not None
    with Image.open(io.BytesIO(_decoded(place.src))) as image:
        brightness = np.asarray(image.convert("L"), dtype=float)
    assert brightness.max() == brightness.min() < 100


def test_crop_that_hides_the_border_is_said_and_shaded(tmp_path: Path) -> None:
    page = report_page(handmade_run(tmp_path, resize="crop"))
    assert any("sees 53% of an image" in warning for warning in page.warnings)
    # 480 x 360 becomes 341 x 256, of which the middle 224 x 224 is seen.
    assert page.findings[0].sheet[0].seen == "left:17.01%;top:6.25%;width:65.69%;height:87.5%"


def test_squash_hides_nothing(page: Page) -> None:
    assert not any("sees" in warning for warning in page.warnings)
    assert all(picture.seen == "" for picture in page.findings[0].sheet)


def test_class_is_shown_with_its_mean_map_against_the_rest(page: Page) -> None:
    gallery = page.galleries[0]
    assert gallery.label == TAG
    assert [picture.caption for picture in gallery.maps] == ["this class", "all other classes"]
    assert "row 1 of 7, column 1 of 7" in gallery.maps[0].alt
    assert "row 1 of 7, column 1 of 7" not in gallery.maps[1].alt
    assert len(gallery.typical) == len(gallery.atypical) == 3


def test_confused_pair_shows_the_maps_of_both_classes(page: Page) -> None:
    pair = page.pairs[0]
    assert (pair.label, pair.images, pair.overlap) == (TAG, "9", "61%")
    for own, rival in pair.rows:
        assert own.caption == rival.caption
        assert own.note == f"map of {TAG}"
        assert "" != own.layer != rival.layer != ""


def test_offenders_are_listed_with_texts_kept_once(run: Run, page: Page) -> None:
    data = page.data
    assert len(data["rows"]) == len(run.offenders)
    rank, image, finding, label, predicted, score, reason, box = data["rows"][0]
    assert (rank, data["images"][image], score) == (1, image_name(TAG, 0), 0.99)
    assert [data["texts"][n] for n in (finding, label, predicted, reason)] == [
        "F1",
        TAG,
        TAG,
        "carries F1",
    ]
    assert box == [4, 4, 124, 64]
    assert data["rows"][-1][-1] == [None] * 4
    assert data["root"] == "file:///data/photos/"
    assert set(data["icons"]) == set(range(len(data["images"])))


def test_class_row_says_what_share_is_testable(page: Page) -> None:
    rows = {row.label: row for row in page.classes}
    assert rows[TAG].testable == "18%"
    assert rows[LONG].testable == "none"
    assert rows[TAG].images == str(PER_CLASS)
    assert rows[TAG].findings == (("finding-1", "F1"),)


def test_many_unreadable_files_are_cut_and_counted(tmp_path: Path) -> None:
    run = handmade_run(tmp_path, unreadable={f"{n}.jpg": "zero bytes" for n in range(250)})
    page = report_page(run)
    assert len(page.unreadable) == 200
    assert page.unreadable_note == "The first 200 of 250; all are in unreadable.csv."


def test_every_setting_and_version_is_listed(page: Page) -> None:
    tables = {name: dict(rows) for name, rows in page.tables}
    assert tables["Settings"]["batch size"] == "32"
    assert tables["Class maps"]["cell grid"] == "14, 14"
    assert tables["Versions"]["torch"] == "2.14.1"
    assert tables["Model"]["resize"] == "squash"


def test_template_that_asks_for_something_missing_fails_loudly(run: Run) -> None:
    page = {"title": "only this"}
    with pytest.raises(jinja2.UndefinedError, match="has no attribute"):
        render("report.html", page)


def test_report_shows_the_thumbnail_of_every_worst_image(run: Run, page: Page) -> None:
    thumbnails = read_thumbnails(run.folder / "thumbnails.parquet")
    assert image_name(TAG, 0) in thumbnails
    for view in page.findings:
        assert all(picture.src.startswith("data:image/jpeg") for picture in view.sheet)


def _decoded(uri: str) -> bytes:
    return base64.b64decode(uri.split(",", 1)[1])


def test_a_finding_tells_both_tiers_its_share_and_two_numbers(tiered: Run) -> None:
    page = report_page(tiered)
    one, two, three = page.findings
    assert one.facts == (
        ("images", "6 sure (about 4% wrong), 3 more likely (together about 11% wrong)"),
        ("share", "64% of the class, 41 to 79%"),
        ("reliance", "0.61 (0.52 to 0.70)"),
        ("likeness to an artifact", "0.93"),
    )
    assert dict(two.facts) == {
        "images": "6 images",
        "share": "43% of the class",
        "reliance": "not measured",
        "likeness to an artifact": "0.73",
    }
    assert three.facts[0] == ("images", "none sure, 14 likely (about 30% wrong)")
    assert one.suspicion.name == "likeness to an artifact"
    assert [tile.mark for tile in one.sheet] == [""] * 6 + ["likely"] * 3
    assert one.sheet[6].note.startswith("likely, score")
    assert one.sheet_note == "all of them, worst first, sure ones before likely ones"
    assert three.sheet_note == "the worst 12 of 14 images, 12 of them likely"
    assert page.tiered


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"sure_images": 83, "sure_wrong": 0.04}, "83 sure (about 4% wrong), 20 more likely"),
        ({"sure_images": 83}, "83 sure, 20 more likely"),
        ({"sure_images": 103, "sure_wrong": 0.002}, "103 sure (under 1% wrong)"),
        ({"sure_images": 0, "listed_wrong": None}, "none sure, 103 likely"),
        ({"sure_images": 103, "sure_wrong": None}, "103 images"),
        ({}, "103 images"),
    ],
)
def test_tiers_in_words(numbers: dict[str, Any], words: str) -> None:
    assert tiers_text({"images": 103, **numbers}) == words


def test_a_run_without_tiers_shows_none(page: Page) -> None:
    assert not page.tiered
    for item in page.findings:
        assert item.facts == ()
        assert item.suspicion.name == "suspicion"
        assert not any(tile.mark for tile in item.sheet)
    assert b"likely, " not in render("report.html", page, scripts=())


def test_a_page_with_tiers_opens_without_complaint(browser: Any, tiered: Run) -> None:
    with visiting(browser, write_report(tiered), width=360) as visit:
        assert [scrolled_at(visit, width) for width in (360, 1280)] == [360, 1280]
        assert (visit.requests, visit.complaints) == ([], [])
        told = visit.page.locator("#finding-1 .facts").text_content()
        assert "6 sure (about 4% wrong)" in told
        assert "likeness to an artifact" in told
