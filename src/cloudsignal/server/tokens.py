"""Bearer token -> who reads (RFC 6750), for everything but the signals themselves."""

import asyncio
from typing import Final

from cloudsignal.server.keys import TOKEN_PREFIX, Keyring
from cloudsignal.server.store.access import ROLES, Role, Token
from cloudsignal.server.store.store import Store

_SCHEME: Final = "bearer"


class NotAllowed(Exception):
    """There is no token or it is not known (``status`` 401), or it may not do this (403)."""

    def __init__(self, info: str, status: int = 401) -> None:
        super().__init__(info)
        self.status = status


class Tokens:
    """Looks tokens up in the store at every request, so that a revoked one ends at once."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    async def holder(self, authorization: bytes) -> Token:
        """The token of an Authorization header. Raises NotAllowed with a sentence."""
        scheme, _, given = authorization.decode("latin-1").partition(" ")
        if scheme.lower() != _SCHEME or not given:
            raise NotAllowed("send the header Authorization: Bearer TOKEN")
        given = given.strip()
        if not given.startswith(TOKEN_PREFIX):
            raise NotAllowed(f"this is no token of this server: they begin with {TOKEN_PREFIX}")
        digest = self._keyring.digest(given)
        token = await asyncio.to_thread(self._store.access.find_token, digest)
        if token is None or token.revoked is not None:
            raise NotAllowed("this token is not known, or was revoked")
        return token

    async def holder_of(self, authorization: bytes, needed: Role) -> Token:
        """The token of the header, if its role includes the one needed. Raises NotAllowed."""
        token = await self.holder(authorization)
        if ROLES.index(token.role) < ROLES.index(needed):
            raise NotAllowed(f"this needs a token of the role {needed}: yours is {token.role}", 403)
        return token
