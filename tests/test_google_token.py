"""Access tokens: one request serves all that wait, and without a token nothing was sent."""

import asyncio
import json
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from jtd_worker.google_token import AccessTokens, service_account
from jtd_worker.result import Refused, Retry, Scope
from jtd_worker.testing.http_server import HttpServer, Script, Step, answer, in_turn
from jtd_worker.web_push import from_base64url
from tests.service_account import TOKEN, account, grant, pem

SCOPE = "https://scope.example/push"
REFUSAL = b'{"error": "invalid_grant", "error_description": "Invalid JWT Signature."}'


def tokens(url: str, timeout: float = 5) -> AccessTokens:
    return AccessTokens(service_account(account(url)), SCOPE, timeout=timeout)


async def refused(script: Script, *, within: float = 5) -> Refused:
    async with HttpServer(script) as server:
        said = await tokens(server.url, within).get()
    assert isinstance(said, Refused), said
    return said


async def test_many_that_wait_ask_once_and_for_the_scope_alone() -> None:
    async with HttpServer(grant()) as server:
        source = tokens(server.url)
        assert await asyncio.gather(*(source.get() for _ in range(20))) == [TOKEN] * 20
        assert await source.get() == TOKEN
        (request,) = server.requests
    form = parse_qs(request.body.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    claims = json.loads(from_base64url(form["assertion"][0].split(".")[1]))
    assert claims["scope"] == SCOPE
    assert claims["iss"] == "worker@acme-app.iam.gserviceaccount.com"


async def test_a_token_that_is_nearly_over_or_was_not_taken_is_asked_for_anew() -> None:
    async with HttpServer(in_turn(grant("a", seconds=30), grant("b"), grant("c"))) as server:
        source = tokens(server.url)
        assert [await source.get(), await source.get(), await source.get()] == ["a", "b", "b"]
        source.forget()
        assert await source.get() == "c"


@pytest.mark.parametrize(
    "script",
    [answer(400, REFUSAL), answer(401, b"no JSON"), answer(400, b"[]"), answer(200, b"{}"),
     answer(200, b"[]"), answer(200, b'{"access_token": "x", "expires_in": "soon"}'),
     answer(302, headers={"location": "/x"})],
    ids=["a wrong key", "no JSON", "a list", "no token", "a list instead of it", "no number", "a redirect"],
)  # fmt: skip
async def test_an_account_that_gets_no_token_waits_for_the_operator(script: Script) -> None:
    said = await refused(script)
    assert (said.retry, said.scope, said.code) == (Retry.AFTER_OPERATOR, Scope.CREDENTIAL, "token_refused")
    assert "PRIVATE" not in repr(said)


@pytest.mark.parametrize(
    "script",
    [answer(503, b"{}"), [Step.RESET], [Step.CLOSE], [Step.HANG]],
    ids=["busy", "reset", "closed", "silent"],
)
async def test_a_token_server_that_does_not_answer_is_tried_later(script: Script) -> None:
    said = await refused(script, within=1)
    assert (said.retry, said.scope, said.code) == (Retry.LATER, Scope.NETWORK, "token_unreachable")


async def test_no_token_server_at_all_is_tried_later() -> None:
    said = await tokens("http://127.0.0.1:9/token").get()
    assert isinstance(said, Refused)
    assert (said.retry, said.code) == (Retry.LATER, "token_unreachable")


def test_the_key_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    file.write_text(account("https://oauth2.example/token"))
    assert service_account(str(file))["project_id"] == "acme-app"


@pytest.mark.parametrize(
    "given",
    ["/no/such/file", "{", "[]", "{}", account("http://elsewhere.example/token"),
     account("https://a.example", private_key="x")],
    ids=["no file", "no JSON", "no object", "nothing in it", "a token server without TLS", "no key"],
)  # fmt: skip
def test_a_key_that_is_none_is_explained_and_not_shown(given: str) -> None:
    with pytest.raises(ValueError, match=r"service account|token_uri") as raised:
        service_account(given)
    assert pem().splitlines()[1] not in str(raised.value)
