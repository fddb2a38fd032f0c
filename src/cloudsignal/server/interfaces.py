"""API key -> interface: who is asking, and whether they may (contract, section 2)."""

import asyncio
import logging
import threading
from datetime import tzinfo
from hmac import compare_digest
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from cloudsignal.protocol import http
from cloudsignal.protocol.refusals import Refusal, not_now, refuse
from cloudsignal.protocol.units import MINUTE_S
from cloudsignal.server import addresses
from cloudsignal.server.clock import Clock
from cloudsignal.server.keys import Keyring
from cloudsignal.server.settings import Settings
from cloudsignal.server.store.access import Interface, Key
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.store import Store
from cloudsignal.server.strangers import Strangers
from cloudsignal.server.windows import Windows

_log: Final = logging.getLogger(__name__)

TRUSTED_S: Final = 5.0
"""For how long keys in memory open anything while the store cannot say that they still do."""


class Caller(Struct, frozen=True):
    """An interface with the key that opens it; ``expires`` in microseconds."""

    digest: str
    interface: int
    partner: int
    partner_name: str
    zone: tzinfo
    allow: tuple[str, ...]
    test: bool
    closed: bool
    expires: int | None


class Interfaces:
    """Every key, in memory, read anew when the store says that something changed."""

    def __init__(self, settings: Settings, store: Store, keyring: Keyring, clock: Clock) -> None:
        self._store = store
        self._keyring = keyring
        self.strangers = Strangers(settings, clock)
        """Shared with whoever else is asked with keys: no address gets several times as many tries."""
        self._posts_max = settings.posts_per_minute
        self._posts = Windows(MINUTE_S, clock)
        self._clock = clock
        self._callers: dict[str, Caller] = {}
        self._revision = -1
        self._loading = threading.Lock()
        self._is_trusted = True

    def known(self, apikey: str) -> Caller | None:
        """The interface that a key opens, as far as is in memory and can be trusted."""
        if not self._is_trusted:
            return None
        digest = self._keyring.digest(apikey)
        caller = self._callers.get(digest)
        # The digest is found by hash; what is left to compare takes the same time for any key.
        if caller is not None and compare_digest(caller.digest, digest):
            return caller
        return None

    async def find(self, apikey: str, address: str) -> Caller:
        """The interface of a key that is not in memory: it may be a few moments old.

        Raises Refusal: ``too_many_requests`` when the address has tried too many, ``unavailable``
        when the store is away, ``wrong_kind_of_key`` for a key of another kind, else ``unknown_key``.
        """
        if not self._is_trusted:
            # Without asking once more: the store has not answered for seconds.
            raise _unreadable()
        self.strangers.check(address)
        digest = self._keyring.digest(apikey)
        try:
            caller, kind = await asyncio.to_thread(self._look_up, digest)
        except StoreUnavailable:
            raise _unreadable() from None
        if caller is not None:
            return caller
        self.strangers.count(address)
        if kind:
            raise refuse(
                "wrong_kind_of_key",
                f"this is {kind}: signals need the key of a CloudSignal API interface",
                at="apikey",
            )
        raise http.unknown_key()

    def _look_up(self, digest: str) -> tuple[Caller | None, str]:
        """The interface of a key in the store, or of which other kind it is."""
        if self._store.access.find_key(digest):
            self.load()
        caller = self._callers.get(digest)
        if caller is not None:
            return caller, ""
        if self._store.access.find_token(digest) is not None:
            return None, "an API token"
        is_owners = self._store.orders.find_owner_key(digest) is not None
        return None, "the key of an order owner" if is_owners else ""

    def admit(self, caller: Caller, address: str) -> None:
        """Let a post of this interface in.

        Raises Refusal when the interface is closed, the key expired, the address not allowed, or the
        minute's posts used up.
        """
        if caller.closed:
            raise refuse(
                "key_disabled",
                "this key's interface is disabled or revoked: ask the platform for another key",
                at="apikey",
            )
        if caller.expires is not None and caller.expires <= self._clock():
            raise refuse(
                "key_expired",
                "this key was replaced and has expired: use the interface's new key",
                at="apikey",
            )
        if caller.allow and not addresses.is_within(address, caller.allow):
            raise refuse(
                "address_not_allowed",
                f"this key may not be used from {address}: ask the platform to allow the address",
                at="apikey",
            )
        if self._posts_max:
            self._count(caller)

    def _count(self, caller: Caller) -> None:
        posts, left_s = self._posts.of(caller.interface)
        if posts >= self._posts_max:
            raise refuse(
                "too_many_requests",
                f"this key's interface may send {self._posts_max} posts a minute: send bundles, or"
                " wait",
                retry_after_s=left_s,
            )
        self._posts.count(caller.interface)

    async def refresh(self) -> None:
        """Read the keys anew if anything has changed."""
        await asyncio.to_thread(self.load)

    def load(self) -> None:
        """Read the keys anew if anything has changed. May raise StoreUnavailable."""
        # One at a time: a thread that was held up must not put back what it read before.
        with self._loading:
            # The revision first: what changes in between is read twice rather than never.
            revision = self._store.access.revision()
            if revision == self._revision:
                return
            interfaces = {each.id: each for each in self._store.access.interfaces()}
            self._callers = {
                key.digest: _caller(key, interfaces[key.interface])
                for key in self._store.access.apikeys()
                if key.interface in interfaces
            }
            self._revision = revision

    async def keep_fresh(self, every_s: float) -> None:
        """Notice changes made by other programs, for as long as the server runs.

        Where that cannot be, no key opens anything ``TRUSTED_S`` after the last look: it may have
        been revoked, and the writer has a connection of its own that may still work.
        """
        loop = asyncio.get_running_loop()
        looked = loop.time()
        while True:
            await asyncio.sleep(every_s)
            began = loop.time()
            look = asyncio.ensure_future(self._look())
            # Not given up when it takes too long: the next one would only stand behind it.
            done, _ = await asyncio.wait([look], timeout=max(0.0, looked + TRUSTED_S - began))
            self._is_trusted = bool(done)
            if await look:
                looked = began  # What it found was so then, and may be otherwise by now.
            self._is_trusted = loop.time() < looked + TRUSTED_S

    async def _look(self) -> bool:
        """Read the keys anew if anything has changed; whether that could be found out."""
        try:
            await self.refresh()
        except StoreUnavailable:
            return False
        except Exception:
            # Whatever it was: without another try no key would ever be revoked again.
            _log.exception("defect: the keys could not be read anew")
            return False
        return True


def _unreadable() -> Refusal:
    return not_now("unavailable", "the keys cannot be read just now: send this again in a moment")


def _caller(key: Key, interface: Interface) -> Caller:
    return Caller(
        digest=key.digest,
        interface=interface.id,
        partner=interface.partner,
        partner_name=interface.partner_name,
        zone=ZoneInfo(interface.timezone),
        allow=interface.allow,
        test=interface.test,
        closed=interface.state != "active",
        expires=key.expires,
    )
