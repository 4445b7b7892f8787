"""Any HTTP API by configuration alone: the request by templates, the answer and the receipts by rules."""

from dataclasses import replace
from functools import partial
from typing import Final, Literal, Self

from pydantic import Field, HttpUrl, Json, PrivateAttr, SecretStr, TypeAdapter, model_validator

from jtd_worker.adapter import Adapter, Capabilities, Sureness, UnknownRule
from jtd_worker.http_adapter import ApiUrl, HttpAdapter, SendSettings
from jtd_worker.http_rules import Place, Rule, judge
from jtd_worker.http_template import BodyFormat, RequestSource, RequestTemplate
from jtd_worker.receipt import ReceiptParser
from jtd_worker.receipt_rules import ReceiptRules, parser

CAPABILITIES: Final = Capabilities(
    unknown_rule=UnknownRule.HOLD, sureness=Sureness.CONFIGURED, has_receipts=True
)

_PRIVATE: Final[TypeAdapter[HttpUrl]] = TypeAdapter(ApiUrl)


class Settings(SendSettings):
    """The request and what its answers mean; nothing of the request is shown, since it may hold a secret."""

    method: Literal["POST", "PUT", "PATCH", "GET"] = "POST"
    url: str = Field(repr=False)
    """A template; `https`, or `http` on a loopback host. A value is one part of the path or query."""
    query: Json[dict[str, str]] | None = Field(default=None, repr=False)
    """Names and templates; one that comes out empty is left out."""
    headers: Json[dict[str, str]] | None = Field(default=None, repr=False)
    body_format: BodyFormat = "json"
    body: str = Field(default="", repr=False)
    """`json`: a template that is JSON once its values are filled in; `form`: names and templates."""
    secrets: Json[dict[str, SecretStr]] | None = Field(default=None, repr=False)
    """By name, for `{{ secret.name }}`."""
    id_path: Place | None = None
    """Where an answer shows the provider's id; a success without it is not believed."""
    rules: Json[tuple[Rule, ...]] | None = Field(default=None, repr=False)

    _template: RequestTemplate = PrivateAttr()

    @model_validator(mode="after")
    def _can_be_written(self) -> Self:
        self._template = RequestTemplate(
            RequestSource(
                method=self.method,
                url=self.url,
                query=self.query or {},
                headers=self.headers or {},
                body_format=self.body_format,
                body=self.body,
                secrets={name: one.get_secret_value() for name, one in (self.secrets or {}).items()},
            )
        )
        _PRIVATE.validate_python(self.template.sample_url)
        names = self.template.names
        is_known = names & {"idempotency_key", "jtd_id"}
        if self.unknown is UnknownRule.IDEMPOTENT_RETRY and not is_known:
            raise ValueError("unknown: `idempotent_retry` needs {{ idempotency_key }} in the request")
        if self.unknown is UnknownRule.WAIT_FOR_RECEIPT and "jtd_id" not in names:
            raise ValueError("unknown: `wait_for_receipt` needs {{ jtd_id }} in the request, to be echoed")
        return self

    @property
    def template(self) -> RequestTemplate:
        """The request, compiled."""
        return self._template


def build(settings: Settings, channel: str) -> Adapter:
    """Make the adapter; it connects with the first message."""
    template = settings.template
    read = partial(judge, rules=settings.rules or (), id_path=settings.id_path)
    capabilities = replace(CAPABILITIES, echoes_reference="jtd_id" in template.names)
    return HttpAdapter(settings, capabilities, template.write, read, secrets=template.hidden)


class ReceiptSettings(ReceiptRules):
    """How a receipt is proved, and where in it stands what."""


def build_receipts(settings: ReceiptSettings) -> ReceiptParser:
    """Make the parser of the receipts."""
    return parser(settings)
