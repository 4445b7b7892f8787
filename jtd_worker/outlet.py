"""By which adapters the messages of a job may go: the house's, or one of its tenant's own credential."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from pydantic import ValidationError

from jtd_worker import reference
from jtd_worker.adapter import Adapter
from jtd_worker.credential import Credential, CredentialName, Credentials
from jtd_worker.errors import ConfigurationError, RefusedReferenceError
from jtd_worker.jtd import Jtd
from jtd_worker.registry import Provider, ProviderName
from jtd_worker.slots import Slots

MOST_OPEN: Final = 200
"""Adapters of tenants' own credentials that are kept for the next message."""
LONGEST_CODE: Final = 50
"""Characters of a provider's code, as n_jtd_rate_limits has them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outlet:
    """An adapter under the name by which results tell who gave them."""

    code: str
    """`smtp`, `smtp.backup`; for a tenant's own credential `smtp@acme`."""
    adapter: Adapter
    takes_senders: bool = False
    """Whether a message by it goes as whom its tenant likes."""
    is_own: bool = False
    """Whether it is of a tenant's own credential."""
    is_shared: bool = True
    """Whether several tenants send by it."""
    turns: Slots | None = None
    """For each call of `send`, taken before the hand-off; None where any number may run."""


def house_outlet(code: str, adapter: Adapter, *, takes_senders: bool = False) -> Outlet:
    """Return the outlet of a provider of JTD_PROVIDERS."""
    limit = adapter.capabilities.concurrency
    turns = None if limit is None else Slots(limit)
    return Outlet(code=code, adapter=adapter, takes_senders=takes_senders, turns=turns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """A credential that a tenant has named for a channel."""

    channel: str
    provider: str | None
    """What it is for, where the tenant says so."""
    credential: CredentialName
    tenant_id: UUID
    names_sender: bool
    """Whether he says as whom."""
    is_bound: bool
    """Whether it may have the message already, and no other may be asked."""

    @property
    def code(self) -> str:
        """The code of its outlet, as far as it is known before the credential is."""
        return f"{self.provider or ''}@{self.credential.code}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """By what a message goes, and as whom."""

    own: Own | None = None
    """What comes first; None for `outlets` alone."""
    outlets: tuple[Outlet, ...]
    """Of the house, in order of preference; none where no other may send what `own` cannot."""
    sender: str | None = field(default=None, repr=False)
    reply_to: str | None = field(default=None, repr=False)


@dataclass(slots=True, kw_only=True, eq=False)
class _Opened:
    """An adapter that was made for a credential."""

    outlet: Outlet
    credential: Credential
    users: int = 0
    is_replaced: bool = False


class Outlets:
    """Knows the adapters of the house, and makes those of tenants' own credentials as they are needed."""

    def __init__(
        self,
        house: Mapping[str, Sequence[Outlet]],
        outbox: Outlet,
        credentials: Credentials,
        share: int,
    ) -> None:
        """`house` are the providers of each channel in order of preference; `outbox` takes test rows.

        `share` is how many sends of one own credential may run at one time: fewer than there are slots, so
        that one that hangs leaves some to the others.
        """
        self._house = {channel: tuple(pool) for channel, pool in house.items()}
        self._outbox = (outbox,)
        self._credentials = credentials
        self._share = share
        self._opened: OrderedDict[tuple[str, str], _Opened] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    def route(self, jtd: Jtd) -> Route:
        """Return by what `jtd` may go; nothing at all where the one provider that may have it is gone.

        Raises RefusedReferenceError when what its tenant has set cannot be used.
        """
        house = self._house[jtd.channel_code]
        if jtd.is_diverted and not house[0].adapter.capabilities.transactional:
            return Route(outlets=self._outbox)
        # what never leaves the house does not leave it because of what a tenant has written
        is_inside = all(outlet.adapter.capabilities.transactional for outlet in house)
        if jtd.bound_to is not None:
            return self._bound(jtd, jtd.bound_to, () if is_inside and "@" in jtd.bound_to else house)
        if jtd.reference is None or is_inside:
            return Route(outlets=house)
        return self._chosen(jtd, reference.read(jtd.reference, jtd.channel_code))

    def _bound(self, jtd: Jtd, code: str, house: tuple[Outlet, ...]) -> Route:
        as_whom = reference.read(jtd.reference or "{}", jtd.channel_code)
        provider, at, own_code = code.partition("@")
        own, outlets = None, tuple(outlet for outlet in house if outlet.code == code)
        if house and at and (name := CredentialName.of_code(own_code)):
            own = _own(jtd, provider, name, as_whom, is_bound=True)
        return Route(own=own, outlets=outlets, sender=as_whom.sender, reply_to=as_whom.reply_to)

    def _chosen(self, jtd: Jtd, chosen: reference.Reference) -> Route:
        own, outlets = None, self._house[jtd.channel_code]
        if chosen.credential is not None:
            name = self._credentials.name(chosen.credential)
            own = _own(jtd, chosen.provider, name, chosen, is_bound=False)
            outlets = outlets if chosen.falls_back else ()
        elif chosen.provider is not None:
            first = tuple(outlet for outlet in outlets if outlet.code == chosen.provider)
            if not first:
                raise RefusedReferenceError(
                    "credential_refused",
                    f"its tenant wants provider {chosen.provider} for channel {jtd.channel_code}, "
                    "which JTD_PROVIDERS does not name",
                )
            outlets = first + tuple(o for o in outlets if chosen.falls_back and o not in first)
        if chosen.sender is not None and own is None and not outlets[0].takes_senders:
            raise RefusedReferenceError(
                "sender_refused",
                f"its tenant has no credential of his own, and JTD_TENANT_SENDERS does not let him name the "
                f"sender by {jtd.channel_code}:{outlets[0].code}",
            )
        return Route(own=own, outlets=outlets, sender=chosen.sender, reply_to=chosen.reply_to)

    @asynccontextmanager
    async def opened(self, own: Own) -> AsyncIterator[Outlet]:
        """Yield the outlet of a credential; until the end of the block it is not closed.

        Raises RefusedReferenceError when there is none for that tenant.
        """
        credential = await self._credentials.find(own.credential, own.tenant_id)
        if own.names_sender and credential.tenants is None:
            raise RefusedReferenceError(
                "sender_refused",
                f"credential {own.credential} is for all tenants, so none may name the sender",
            )
        name = _provider(own, credential)
        key = own.channel, f"{name.provider}@{own.credential.code}"
        opened = self._opened.get(key)
        if opened is None or opened.credential != credential:
            # it may read files and ask the resolver
            adapter = await asyncio.to_thread(_build, own, name, credential)
            opened = self._opened.get(key)
            if opened is not None and opened.credential == credential:  # another batch was faster
                await adapter.aclose()
            else:
                opened = self._keep(key, credential, adapter)
        self._opened.move_to_end(key)
        opened.users += 1
        try:
            yield opened.outlet
        finally:
            opened.users -= 1
            if opened.is_replaced:
                self._close_unused(opened)

    def _keep(self, key: tuple[str, str], credential: Credential, adapter: Adapter) -> _Opened:
        _, code = key
        capabilities = adapter.capabilities
        limit = min(self._share, capabilities.concurrency or self._share)
        outlet = Outlet(
            code=code,
            adapter=adapter,
            takes_senders=credential.tenants is not None,
            is_own=True,
            is_shared=credential.tenants is None or len(credential.tenants) > 1,
            turns=Slots(limit),
        )
        if before := self._opened.pop(key, None):
            self._replace(before)
        self._opened[key] = opened = _Opened(outlet=outlet, credential=credential)
        unused = [k for k, kept in self._opened.items() if not kept.users and kept is not opened]
        for unneeded in unused[: max(0, len(self._opened) - MOST_OPEN)]:
            self._replace(self._opened.pop(unneeded))
        return opened

    def _replace(self, opened: _Opened) -> None:
        opened.is_replaced = True
        self._close_unused(opened)

    def _close_unused(self, opened: _Opened) -> None:
        if not opened.users:
            closing = asyncio.get_running_loop().create_task(opened.outlet.adapter.aclose())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Close all adapters, those of the house too; nothing is being sent any more."""
        for opened in self._opened.values():
            await opened.outlet.adapter.aclose()
        for outlet in (outlet for pool in self._house.values() for outlet in pool):
            await outlet.adapter.aclose()
        await asyncio.gather(*self._closing)


def _own(
    jtd: Jtd, provider: str | None, name: CredentialName, as_whom: reference.Reference, *, is_bound: bool
) -> Own:
    return Own(
        channel=jtd.channel_code,
        provider=provider,
        credential=name,
        tenant_id=jtd.tenant_id,
        names_sender=as_whom.sender is not None,
        is_bound=is_bound,
    )


def _provider(own: Own, credential: Credential) -> ProviderName:
    """Return the provider that a credential is for, on which its tenant and its document agree."""
    named = {name for name in (own.provider, credential.provider) if name is not None}
    if len(named) != 1:
        what = "are not for the same provider" if named else "name no provider"
        raise _unusable(own, f"and the reference to it {what}")
    (provider,) = named
    if "." in provider:
        raise _unusable(own, "is not for an instance of JTD_PROVIDERS: name the provider without it")
    if len(f"{provider}@{own.credential.code}") > LONGEST_CODE:
        raise _unusable(own, f"has too long a name: with its provider more than {LONGEST_CODE} characters")
    return ProviderName(channel=own.channel, provider=provider)


def _build(own: Own, name: ProviderName, credential: Credential) -> Adapter:
    try:
        adapter = Provider.make(name, credential.settings).build()
    except ValidationError as error:
        wrong = {
            ".".join(map(str, e["loc"])) for e in error.errors(include_input=False, include_context=False)
        }
        what = ", ".join(sorted(field or "as a whole" for field in wrong))
        raise _unusable(own, f"has wrong settings for {name}: {what}") from None
    except ConfigurationError:
        raise _unusable(own, f"is for {name}, which there is not or which cannot use it") from None
    except (OSError, ValueError) as error:
        raise _unusable(own, f"cannot be used by {name} ({type(error).__name__})") from None
    if adapter.capabilities.transactional:
        raise _unusable(own, f"is for {name}, by which nothing leaves the house")
    return adapter


def _unusable(own: Own, why: str) -> RefusedReferenceError:
    return RefusedReferenceError("credential_refused", f"credential {own.credential} {why}")
