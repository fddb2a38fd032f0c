"""Key -> owner: who reads, and whether they may."""

import asyncio

from cloudsignal.protocol import http
from cloudsignal.protocol.refusals import refuse
from cloudsignal.server.clock import Clock
from cloudsignal.server.keys import Keyring
from cloudsignal.server.store.orders import Owner, OwnerKey
from cloudsignal.server.store.store import Store
from cloudsignal.server.strangers import Strangers


class Owners:
    """Looks keys up in the store at every request, so that one that has expired ends at once."""

    def __init__(self, store: Store, keyring: Keyring, clock: Clock, strangers: Strangers) -> None:
        self._store = store
        self._keyring = keyring
        self._clock = clock
        self._strangers = strangers
        # By their digests; no more than there are owners' keys.
        self._seen: set[str] = set()

    async def find(self, apikey: str, address: str) -> Owner:
        """The owner whose key this is. May raise StoreUnavailable.

        Raises Refusal: ``key_expired``, ``wrong_kind_of_key`` for a key of another kind, else ``unknown_key``;
        ``too_many_requests`` when the address has tried too many of those.
        """
        digest = self._keyring.digest(apikey)
        # A good key is good whatever else came from its address.
        if digest not in self._seen:
            self._strangers.check(address)
        found, kind = await asyncio.to_thread(self._look_up, digest)
        if found is None:
            self._strangers.count(address)
            if kind:
                info = f"this is {kind}: orders are read with the key of their owner"
                raise refuse("wrong_kind_of_key", info, at="apikey")
            raise http.unknown_key()
        self._seen.add(digest)
        owner, key = found
        if key.expires is not None and key.expires <= self._clock():
            info = "this key was replaced and has expired: use the newer one"
            raise refuse("key_expired", info, at="apikey")
        return owner

    def _look_up(self, digest: str) -> tuple[tuple[Owner, OwnerKey] | None, str]:
        """The owner of a key in the store, or of which other kind the key is."""
        found = self._store.orders.find_owner_key(digest)
        if found is not None:
            return found, ""
        if self._store.access.find_key(digest) is not None:
            return None, "the key of a CloudSignal API interface"
        return None, "an API token" if self._store.access.find_token(digest) is not None else ""
