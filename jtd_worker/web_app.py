"""What the web process answers, put together: routes, limits, and what becomes of an error."""

from collections.abc import Callable, Iterable, Sequence

import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import PlainTextResponse
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from jtd_worker.body_limit import BodyLimit
from jtd_worker.web_metrics import WebMetrics

log = structlog.get_logger()


def make_app(routers: Iterable[APIRouter], most_body_bytes: int, origins: Sequence[str] = ()) -> FastAPI:
    """Return the application; it publishes no description of itself.

    Pages of `origins` may ask it from a browser (WHATWG Fetch, 3.2: CORS), without cookies.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    for router in routers:
        app.include_router(router)
    app.add_middleware(BodyLimit, most_bytes=most_body_bytes)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
        )
    app.add_exception_handler(TimeoutError, _away)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _failed)
    return app


def probe_routes(hindrances: Callable[[], Iterable[str]], metrics: WebMetrics) -> APIRouter:
    """Return /healthz, /readyz and /metrics; without hindrances the process is ready."""
    router = APIRouter()

    @router.api_route("/healthz", methods=["GET", "HEAD"])
    async def healthz() -> PlainTextResponse:
        return PlainTextResponse("ok\n")

    @router.api_route("/readyz", methods=["GET", "HEAD"])
    async def readyz() -> PlainTextResponse:
        if found := list(hindrances()):
            return PlainTextResponse("\n".join(found) + "\n", 503)
        return PlainTextResponse("ready\n")

    @router.api_route("/metrics", methods=["GET", "HEAD"])
    async def figures() -> PlainTextResponse:
        metrics.ready.set(not list(hindrances()))
        return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


async def _away(request: Request, error: Exception) -> PlainTextResponse:
    """The database did not answer in time."""
    log.warning("web.unavailable", error=type(error).__name__)
    return PlainTextResponse("come again later\n", 503, {"Retry-After": "5"})


async def _gone(request: Request, error: Exception) -> PlainTextResponse:
    """The client went away before it had said all; nobody reads the answer."""
    return PlainTextResponse("", 400)


async def _failed(request: Request, error: Exception) -> PlainTextResponse:
    """Anything else is a defect; its text may quote what was sent, so only its name is told."""
    log.error("web.failed", error=type(error).__name__, sqlstate=getattr(error, "sqlstate", None))
    return PlainTextResponse("this failed\n", 500)
