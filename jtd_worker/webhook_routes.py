"""Where providers report: `/webhooks/<provider>` and `/webhooks/<channel>/<provider>`."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

import structlog
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import PlainTextResponse

from jtd_worker.receipt import ForgedError, Handshake, MalformedError, WebhookRequest
from jtd_worker.receipt_inbox import ReceiptInbox
from jtd_worker.receipt_source import ReceiptSource
from jtd_worker.web_metrics import WebMetrics

log = structlog.get_logger()


def webhook_routes(
    sources: Mapping[tuple[str, str], ReceiptSource],
    inbox: ReceiptInbox,
    metrics: WebMetrics,
    public_url: str,
) -> APIRouter:
    """Return the routes; `public_url`, if given, stands for scheme, host and what a proxy takes off."""
    router = APIRouter()

    @router.api_route("/webhooks/{path:path}", methods=["GET", "POST"])
    async def webhook(path: str, request: Request) -> PlainTextResponse:
        """Prove, read and keep what a provider reports; 2xx only when it is on record."""
        source = source_of(sources, path)
        if source is None:
            raise HTTPException(404)
        name, answer = source.name, 500
        try:
            response = await _answered(source, inbox, request, public_url)
            answer = response.status_code
        finally:
            metrics.webhooks.labels(name.channel, name.provider, answer).inc()
            if answer != 200:
                log.warning("webhook.refused", channel=name.channel, provider=name.provider, answer=answer)
        return response

    return router


async def _answered(
    source: ReceiptSource, inbox: ReceiptInbox, request: Request, public_url: str
) -> PlainTextResponse:
    try:
        # in a thread, since a large body, or a parser that waits, would hold up everybody else
        told = await asyncio.to_thread(source.parse, await _received(request, public_url))
        if isinstance(told, Handshake):
            return PlainTextResponse(told.text)
        await inbox.accept(source.name, told)
    except ForgedError:
        return PlainTextResponse("this is not proved to come from the provider\n", 401)
    except MalformedError:
        return PlainTextResponse("this cannot be read\n", 400)
    except HTTPException as error:  # of the body: too large, too slow
        return PlainTextResponse(f"{error.detail}\n", error.status_code)
    except OSError:  # the database, or SNS that has the certificate, does not answer
        return PlainTextResponse("come again later\n", 503, {"Retry-After": "5"})
    return PlainTextResponse("ok\n")


def source_of(sources: Mapping[tuple[str, str], ReceiptSource], path: str) -> ReceiptSource | None:
    """Return the source that a path names, by channel and provider, or by a provider of one channel only.

    What follows is the provider's own: one without signatures is given a URL that nobody can guess.
    """
    first, _, rest = path.partition("/")
    if found := sources.get((first, rest.partition("/")[0])):
        return found
    named = [source for (_, provider), source in sources.items() if provider == first]
    return named[0] if len(named) == 1 else None


async def _received(request: Request, public_url: str) -> WebhookRequest:
    scope = request.scope
    origin = public_url or f"{scope['scheme']}://{request.headers.get('host', '')}"
    path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
    url = f"{origin}{path}?{query}" if query else f"{origin}{path}"
    try:
        urlsplit(url)
    except ValueError:  # of the Host header
        raise MalformedError("the request names a host that is none") from None
    headers: dict[str, str] = {}
    for name, value in request.headers.items():  # repeated ones are one list (RFC 9110, 5.2)
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return WebhookRequest(
        method=request.method,
        url=url,
        headers=headers,
        body=await request.body(),
        received_at=datetime.now(UTC),
    )
