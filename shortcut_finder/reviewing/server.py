"""Server: the pages of a review, for one person on this machine.

Only 127.0.0.1 is listened on; every address begins with a token that was drawn when the server
started; a request for another host, as a page of a stranger would send by a name that it pointed
here, is refused. Images are asked for by the number of their row, never by a name.
"""

from __future__ import annotations

import hmac
import secrets
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from shortcut_finder.errors import RunError, SettingsError, UnreadableImage
from shortcut_finder.report.page import TEMPLATES
from shortcut_finder.reviewing.catalogue import Catalogue, Query
from shortcut_finder.reviewing.ledger import Ledger
from shortcut_finder.reviewing.pictures import Pictures
from shortcut_finder.run.decisions import DECISIONS
from shortcut_finder.run.folder import Run
from shortcut_finder.settings import TIERS

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

HOSTS = ["127.0.0.1", "localhost"]
# Bytes of a decision: two names and a word.
MOST_BODY = 16_384
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self' data:; script-src 'self'; style-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
ASSETS = {"review.js": "text/javascript", "style.css": "text/css", "review.css": "text/css"}


class Review:
    """Answers what the page asks.

    Args:
        run: as loaded from its folder.
        data: where the images lie now, see `Pictures`.
    """

    def __init__(self, run: Run, data: str | None = None) -> None:
        self.run = run
        self.catalogue = Catalogue(run)
        self.ledger = Ledger(run)
        self.pictures = Pictures(run, data)

    def page(self) -> str:
        """The page, without any rows yet."""
        loader = jinja2.FileSystemLoader([str(place) for place in TEMPLATES])
        environment = jinja2.Environment(loader=loader, autoescape=True)
        offenders = self.run.offenders
        return environment.get_template("review.html").render(
            name=str(self.run.card["dataset"]["name"]),
            findings=[str(name) for name in self.run.findings["finding"]],
            labels=sorted(set(offenders["label"].astype(str))),
            tiers=TIERS,
            decisions=DECISIONS,
            count=len(self.catalogue),
        )

    def findings(self) -> dict[str, Any]:
        """What was found, and what was decided about it."""
        decided = self.ledger.now().findings
        names = ["finding", "label", "kind", "severity", "verdict", "sentence"]
        rows = self.run.findings[names].astype(str).to_dict("records")
        return {"rows": [{**row, "decision": decided.get(str(row["finding"]), "")} for row in rows]}


def application(review: Review, token: str) -> Starlette:
    """The server as an ASGI application.

    Args:
        review: answers.
        token: what every address begins with.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    def page(_: Request) -> Response:
        return Response(review.page(), 200, HEADERS, "text/html")

    def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in ASSETS:
            raise HTTPException(404, headers=HEADERS)
        found = next(place / name for place in TEMPLATES if (place / name).is_file())
        return Response(found.read_bytes(), 200, HEADERS, ASSETS[name])

    def findings(_: Request) -> Response:
        return JSONResponse(review.findings(), 200, HEADERS)

    def offenders(request: Request) -> Response:
        return JSONResponse(
            review.catalogue.search(_query(request), review.ledger.now()), 200, HEADERS
        )

    def picture(request: Request) -> Response:
        image = review.catalogue.image(request.path_params["number"])
        if image is None:
            raise HTTPException(404, headers=HEADERS)
        small = request.path_params["size"] == "tile"
        data = (review.pictures.tile if small else review.pictures.jpeg)(image)
        return Response(data, 200, {**HEADERS, "Cache-Control": "private"}, "image/jpeg")

    def decide(request: Request) -> Response:
        finding, number, decision = _decision(request.state.body)
        image = None if number is None else review.catalogue.image(number)
        if number is not None and image is None:
            raise HTTPException(404, headers=HEADERS)
        review.ledger.decide(finding, image, decision)
        return JSONResponse({"saved": True}, 200, HEADERS)

    guarded = partial(_guarded, token=token)
    routes = [
        Route("/{token}/", guarded(page)),
        Route("/{token}/assets/{name}", guarded(asset)),
        Route("/{token}/findings", guarded(findings)),
        Route("/{token}/offenders", guarded(offenders)),
        Route("/{token}/images/{number:int}/{size}", guarded(picture)),
        Route("/{token}/decide", guarded(decide), methods=["POST"]),
    ]
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False)
    return Starlette(routes=routes, middleware=[hosts])


def _guarded(answer: Callable[[Request], Any], token: str) -> Callable[[Request], Any]:
    """The answer for those who know the token, and in its place what went wrong in one line."""
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.responses import JSONResponse

    async def endpoint(request: Request) -> Response:
        given = request.path_params["token"].encode()
        if not hmac.compare_digest(given, token.encode()):
            raise HTTPException(403, headers=HEADERS)
        # Before anything of the body is in memory.
        if int(request.headers.get("content-length") or 0) > MOST_BODY:
            raise HTTPException(413, headers=HEADERS)
        if request.method == "POST":
            request.state.body = await _body(request)
        try:
            return await run_in_threadpool(answer, request)
        except UnreadableImage as error:
            return JSONResponse({"error": str(error)}, 404, HEADERS)
        except RunError as error:
            return JSONResponse({"error": str(error)}, 409, HEADERS)

    return endpoint


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BODY:
            break
    return body


def _query(request: Request) -> Query:
    asked = request.query_params
    start = asked.get("start", "0")
    texts = {name: asked.get(name, "") for name in Query.__dataclass_fields__ if name != "start"}
    return Query(**texts, start=int(start) if start.isascii() and start.isdigit() else 0)


def _decision(body: bytes) -> tuple[str, int | None, str | None]:
    import json

    try:
        content = json.loads(body)
        finding, number = content["finding"], content.get("number")
        decision = content.get("decision") or None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RunError("not a decision") from error
    whole = number is None or (isinstance(number, int) and not isinstance(number, bool))
    if not isinstance(finding, str) or not whole or not isinstance(decision, (str, type(None))):
        raise RunError("not a decision")
    return finding, number, decision


def serve(
    run: Run,
    *,
    data: str | None = None,
    port: int = 0,
    merge: tuple[Path, ...] = (),
    told: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve a run on 127.0.0.1 until the process is interrupted.

    Args:
        run: as loaded from its folder.
        data: where the images lie now, see `Pictures`.
        port: to listen on; any free one if 0.
        merge: files of decisions by other people, taken over first.
        told: hears the address, with the token, and what was merged.

    Raises:
        SettingsError: what a server needs is not installed, or the port is taken.
        RunError: decisions belong to another run.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise SettingsError(
            "review: starlette and uvicorn are not installed; pip install 'shortcut-finder[review]'"
        ) from error
    from shortcut_finder.reviewing.ledger import merge_file

    review = Review(run, data)
    for path in merge:
        told(f"{path}: merged; {merge_file(review.ledger, path)} differ, and stay as they were")
    token = secrets.token_urlsafe(24)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise SettingsError(f"--port {port}: cannot be listened on ({error})") from error
        told(f"http://127.0.0.1:{listening.getsockname()[1]}/{token}/")
        config = uvicorn.Config(
            application(review, token),
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
        )
        uvicorn.Server(config).run(sockets=[listening])
