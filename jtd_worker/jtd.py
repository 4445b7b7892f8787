"""A claimed row of `n_jtd`, with what is needed to render and send it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from jtd_worker.result import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Jtd:
    """One attempt at one JTD; made by a claim, ended by a settle that names the same `attempt`."""

    id: UUID
    attempt: int
    """The fence: rises with every claim; every later write of this attempt must match it."""
    tenant_id: UUID
    event_type_code: str
    channel_code: str
    source_type_code: str
    to: str = field(repr=False)
    """The address on the channel; empty when the row has none."""
    recipient_name: str | None = field(repr=False)
    payload: Mapping[str, Json] = field(repr=False)
    template_variables: Mapping[str, Json] = field(repr=False)
    metadata: Mapping[str, Json] = field(repr=False)
    template_id: UUID | None
    """The template chosen by the claim; None when there is none."""
    template_version: int | None
    template_key: str | None
    """The key that the row asked for, for the message when no template was found."""
    locale: str | None
    created_at: datetime
    is_diverted: bool
    """Test mode: it must not leave the house, and goes to the outbox."""
    retry_count: int
    """Attempts used up before this one."""
    max_retries: int
    expires_at: datetime | None
    bound_to: str | None = None
    """The one provider that may have it already and drops a second copy; no other may be asked."""
    reference: str | None = field(default=None, repr=False)
    """What its tenant has set for the channel, as JSON that nobody has read yet; None: nothing."""
    wants_unsubscribe: bool = False
    """Whether its message is to carry a link by which its recipient unsubscribes."""
    kept: int | None = None
    """How many characters of its text an earlier attempt may have sent; None: it was never handed off."""

    @property
    def country(self) -> Json:
        """What the producer says of the recipient's country: `payload.recipient_data.country_code`."""
        match self.payload:
            case {"recipient_data": {"country_code": country}}:
                return country
            case _:
                return None
