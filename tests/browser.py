"""A real headless browser for the tests of a page, cut off from any network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Visit:
    """A page that was opened, with everything it asked for and complained about."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@contextmanager
def chromium() -> Iterator[Any]:
    """A running browser; skips the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def visiting(browser: Any, path: Path, *, width: int = 1280, dark: bool = False) -> Iterator[Visit]:
    """Open a file; every request but the one for the file itself is refused and written down."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
    )
    visit = Visit(context.new_page())

    def decide(route: Any) -> None:
        if route.request.url == path.as_uri():
            route.continue_()
        else:
            visit.requests.append(route.request.url)
            route.abort()

    visit.page.route("**/*", decide)
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    visit.page.on(
        "console",
        lambda message: (
            visit.complaints.append(message.text) if message.type in ("error", "warning") else None
        ),
    )
    visit.page.goto(path.as_uri(), wait_until="load")
    yield visit
    context.close()


def reloaded(visit: Visit) -> dict[str, float]:
    """Load the page again, and what that took, in seconds.

    Returns:
        ``interactive`` and ``loaded`` by the clock; ``busy``, of the processor in the main thread,
        which other programs of a busy machine lengthen less.
    """
    session = visit.page.context.new_cdp_session(visit.page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    visit.page.reload(wait_until="load")
    entry = "performance.getEntriesByType('navigation')[0]"
    events = {"interactive": "domInteractive", "loaded": "loadEventEnd"}
    times = {
        name: visit.page.evaluate(f"{entry}.{event} - {entry}.startTime") / 1000
        for name, event in events.items()
    }
    metrics = session.send("Performance.getMetrics")["metrics"]
    busy = next(metric["value"] for metric in metrics if metric["name"] == "ThreadTime")
    return {**times, "busy": busy}
