"""Where a recipient unsubscribes: by the button of a mail program (RFC 8058), or by that of a small page."""

import re
from collections.abc import Sequence
from html import escape
from typing import Final

import structlog
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse

from jtd_worker.link_pool import LinkPool
from jtd_worker.unsubscribe import PATH, verify

log = structlog.get_logger()

ANSWER_SECONDS: Final = 5.0
OFFER: Final = "SELECT tenant_name, about FROM jtd.unsubscribe_offer_v1(%s)"
UNSUBSCRIBE: Final = "SELECT jtd.unsubscribe_v1(%s)"

# RFC 8058, 3.2: one pair, which mail programs send as multipart/form-data or URL-encoded. Only with it a POST
# counts, so that what merely follows links cannot unsubscribe anybody.
_ONE_CLICK: Final = re.compile(rb'List-Unsubscribe(=|".{0,300}?\r?\n\r?\n)One-Click', re.DOTALL)
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
_PAGE: Final = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Unsubscribe</title>
<style>body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 15vh auto; padding: 0 1rem }}
button {{ font: inherit; padding: .5rem 1rem }}</style></head>
<body>{body}</body>
</html>
"""
_FORM: Final = (
    '<form method="post"><input type="hidden" name="List-Unsubscribe" value="One-Click">'
    "<button>Unsubscribe</button></form>"
)


def unsubscribe_routes(pool: LinkPool, secrets: Sequence[bytes]) -> APIRouter:
    """Return the routes; without a cookie, a script or a redirect."""
    router = APIRouter()

    @router.get(PATH + "{token}")
    async def offer(token: str) -> HTMLResponse:
        """Ask; to look at the page changes nothing, since programs look at links as well."""
        jtd_id = verify(secrets, token)
        rows = await pool.call(OFFER, [jtd_id], seconds=ANSWER_SECONDS) if jtd_id else []
        if not rows:
            return _unknown()
        tenant, about = (escape(name) if name else None for name in rows[0])
        what = f"<b>{about}</b>" if about else "this kind"
        sender = f" from <b>{tenant}</b>" if tenant else ""
        return _page(f"<p>Do you want no more messages of {what}{sender}?</p>{_FORM}")

    @router.post(PATH + "{token}")
    async def unsubscribe(token: str, request: Request) -> HTMLResponse:
        """Unsubscribe, and say so; a second time the same."""
        jtd_id = verify(secrets, token)
        if jtd_id is None:
            return _unknown()
        if not _ONE_CLICK.search(await request.body()):
            raise HTTPException(400, "the form is not that of the page")
        rows = await pool.call(UNSUBSCRIBE, [jtd_id], seconds=ANSWER_SECONDS)
        if not rows[0][0]:
            return _unknown()
        log.info("unsubscribe.done", jtd_id=jtd_id)
        return _page("<p>You are unsubscribed. You will get no more of these messages.</p>")

    return router


def _unknown() -> HTMLResponse:
    return _page("<p>This link is not known here, or its message was deleted.</p>", 404)


def _page(body: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(body=body), status, _HEADERS)
