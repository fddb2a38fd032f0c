"""Who comes in: passwords, second factors, sessions, and how soon one may try again."""

import asyncio
import secrets
from functools import partial
from typing import Final

from msgspec import Struct

from cloudsignal.protocol.units import DAY_US, HOUR_US, SECOND_US
from cloudsignal.server.addresses import neighbourhood
from cloudsignal.server.clock import Clock
from cloudsignal.server.delivery.sealing import Sealer, SealError
from cloudsignal.server.invitations import invite
from cloudsignal.server.keys import Keyring
from cloudsignal.server.panel import codes
from cloudsignal.server.panel.failures import FailedSignIns, Why
from cloudsignal.server.panel.passwords import Passwords
from cloudsignal.server.store.changes import Actor
from cloudsignal.server.store.sessions import Session
from cloudsignal.server.store.store import Store
from cloudsignal.server.store.users import Invitation, User

IDLE_US: Final = 12 * HOUR_US
"""After how long without a page somebody has to sign in again."""
SESSION_US: Final = 7 * DAY_US
"""After how long in any case."""
SEEN_EVERY_US: Final = 60 * SECOND_US
"""How often it is noted that somebody is there."""
FREE_BY_NAME: Final = 5
FREE_BY_ADDRESS: Final = 20
"""How often one may be wrong before having to wait: for a name, and from an address."""
WAIT_S_MAX: Final = 900
FORGET_US: Final = 24 * HOUR_US
"""After how long it is forgotten that somebody was wrong."""
AGENT_CHARS: Final = 255
WRONG: Final = "The name, the password or the code is wrong."


class NotLetIn(Exception):
    """Somebody cannot sign in; the message says why, and what to do."""


class Visitor(Struct, frozen=True):
    """Where somebody comes from: an address, and what the browser calls itself."""

    address: str
    agent: str = ""


class Holder(Struct, frozen=True):
    """Somebody who is signed in, and by which session."""

    user: User
    session: Session


class Entrance:
    """Lets people in and out. Every verb may raise StoreUnavailable."""

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        sealer: Sealer,
        clock: Clock,
        failed: FailedSignIns,
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._sealer = sealer
        self._now = clock
        self._failed = failed
        self.passwords = Passwords()

    # ---- in and out ----

    async def sign_in(self, name: str, password: str, code: str, visitor: Visitor) -> str:
        """What the browser is to hold from now on. Raises NotLetIn."""
        by_name, by_address = self._by_name(name), self._by_address(visitor.address)
        for who, free in (by_address, by_name):
            await self._count(who, free, name, visitor.address)
        user = await asyncio.to_thread(self._store.users.find, name)
        try:
            why = await self._why_not(user, password, code)
        except SealError as error:
            self._failed.note("unreadable_factor", visitor.address, user)
            raise NotLetIn(f"The second factor cannot be read: {error}") from None
        if why is not None:
            self._failed.note(why, visitor.address, user)
        if user is None or why is not None:
            raise NotLetIn(WRONG)
        await asyncio.to_thread(self._store.sessions.forgive, by_name[0])
        # Who has an account must not try all others' passwords from the same address with it.
        await asyncio.to_thread(self._store.sessions.take_back, by_address[0])
        return await self.begin(user, visitor)

    async def _why_not(self, user: User | None, password: str, code: str) -> Why | None:
        """Why somebody is not to be let in, if so: it takes as long where there is nobody. Raises SealError."""
        digest = user.password if user is not None and not user.disabled else ""
        is_right = await self.passwords.is_right(password, digest)
        if user is None:
            return "no_such_user"
        if user.disabled:
            return "disabled"
        if not is_right:
            return "wrong_password"
        return None if await self._is_code(user, code) else "wrong_code"

    async def begin(self, user: User, visitor: Visitor) -> str:
        """Have somebody signed in, who was checked: what the browser is to hold."""
        token, now = secrets.token_urlsafe(32), self._now()
        session = Session(
            self._keyring.digest(token),
            user.id,
            now,
            now,
            now + SESSION_US,
            visitor.address,
            visitor.agent[:AGENT_CHARS],
        )
        store = self._store.by(Actor(user.name, visitor.address))
        await asyncio.to_thread(store.sessions.begin, session)
        return token

    async def holder(self, token: str, *, is_page: bool = True) -> Holder | None:
        """Who is signed in with what a browser holds, if anybody is still.

        It is noted that somebody is there when they ask for a page, not by what a page asks for by itself.
        """
        found = await asyncio.to_thread(self._store.sessions.find, self._keyring.digest(token))
        if found is None:
            return None
        session, user = found
        now = self._now()
        if now >= session.ends or now - session.seen >= IDLE_US or user.disabled:
            return None
        if is_page and now - session.seen >= SEEN_EVERY_US:
            await asyncio.to_thread(self._store.sessions.see, session.digest, now=now)
        return Holder(user, session)

    async def sign_out(self, holder: Holder) -> None:
        """End a session."""
        await asyncio.to_thread(self._store.sessions.end, holder.session.digest)

    # ---- links ----

    async def invite(self, user: int, by: Actor) -> str:
        """The path of a link by which somebody chooses a password, once. Raises NotFound."""
        store = self._store.by(by)
        return await asyncio.to_thread(invite, store, self._keyring, user, now=self._now())

    async def invitation(self, secret: str) -> tuple[Invitation, User | None] | None:
        """What a link is for, and for whom, if it is good."""
        return await asyncio.to_thread(self._invitation, secret)

    def _invitation(self, secret: str) -> tuple[Invitation, User | None] | None:
        digest = self._keyring.digest(secret)
        found = self._store.users.invitation(digest, now=self._now())
        if found is None:
            return None
        return found, None if found.user is None else self._store.users.user(found.user)

    async def accept(self, secret: str, name: str, password: str, visitor: Visitor) -> User:
        """Use a link up, with a password that may be chosen. Raises NotFound when it is not good any more."""
        digest = await self.passwords.digest(password)
        accept = self._store.by(Actor(name, visitor.address)).users.accept
        known_by = self._keyring.digest(secret)
        return await asyncio.to_thread(accept, known_by, digest, name=name, now=self._now())

    # ---- what people change of themselves ----

    async def change_password(self, holder: Holder, old: str, new: str, visitor: Visitor) -> str:
        """Have another password: what the browser is to hold, everywhere else they are signed out.

        Raises NotLetIn when the old one is not right.
        """
        user = holder.user
        wrong = "The old password is wrong."
        await self._check_password(user, old, visitor.address, wrong=wrong)
        digest = await self.passwords.digest(new)
        store = self._store.by(Actor(user.name, visitor.address))
        await asyncio.to_thread(store.users.set_password, user.id, digest)
        return await self.begin(user, visitor)

    async def add_factor(
        self, holder: Holder, password: str, secret: str, code: str, address: str
    ) -> None:
        """Ask for codes of this secret from now on.

        Raises NotLetIn when the code is not one of it, the password is not right, or there is a second factor.
        """
        user, store = holder.user, self._store.by(Actor(holder.user.name, address))
        if user.totp is not None:
            raise NotLetIn("There is a second factor already: remove it first.")
        step = codes.step_of(secret, code, now=self._now())
        if step is None:
            raise NotLetIn("This is not the code that the app shows for it now: try the next one.")
        await self._check_password(user, password, address)
        sealed = self._sealer.seal(secret, of=_factor_of(user.id))
        await asyncio.to_thread(store.users.set_totp, user.id, sealed, step=step)

    async def drop_factor(self, holder: Holder, password: str, address: str) -> None:
        """Ask for codes no more. Raises NotLetIn when the password is not right."""
        user, store = holder.user, self._store.by(Actor(holder.user.name, address))
        await self._check_password(user, password, address)
        await asyncio.to_thread(store.users.set_totp, user.id, None)

    async def _check_password(
        self, user: User, password: str, address: str, *, wrong: str = "The password is wrong."
    ) -> None:
        """Make sure that who is signed in knows the password, as often as who signs in may try. Raises NotLetIn."""
        who, free = self._by_name(user.name)
        await self._count(who, free, user.name, address)
        if not await self.passwords.is_right(password, user.password):
            self._failed.note("wrong_password", address, user)
            raise NotLetIn(wrong)
        await asyncio.to_thread(self._store.sessions.forgive, who)

    async def _is_code(self, user: User, code: str) -> bool:
        """Whether a code is right, and was not used before; any is where there is no second factor. Raises SealError."""
        if user.totp is None:
            return True
        secret = self._sealer.open(user.totp, of=_factor_of(user.id))
        step = codes.step_of(secret, code, now=self._now())
        if step is None:
            return False
        return await asyncio.to_thread(self._store.users.use_step, user.id, step)

    # ---- how soon one may try again ----

    def _by_name(self, name: str) -> tuple[str, int]:
        """Whose attempts count together, with how many are free. Names that do not exist count as well."""
        return self._keyring.digest(f"name {name.casefold()}"), FREE_BY_NAME

    def _by_address(self, address: str) -> tuple[str, int]:
        """The same of where they come from."""
        return self._keyring.digest(f"address {neighbourhood(address)}"), FREE_BY_ADDRESS

    async def _count(self, who: str, free: int, name: str, address: str) -> None:
        """Count an attempt with a name. Raises NotLetIn while nobody is listened to."""
        now = self._now()
        # Before it is known how it ends: of many that come at once, none is listened to that may not be.
        left = await asyncio.to_thread(
            self._store.sessions.attempt,
            who,
            pause=partial(_pause, free),
            forget=now - FORGET_US,
            now=now,
        )
        if left:
            is_news = self._failed.is_news(who, now + left)
            user = await asyncio.to_thread(self._store.users.find, name) if is_news else None
            self._failed.note("too_often", address, user, in_log=is_news)
            raise NotLetIn(
                f"This was wrong too often: try again in {-(-left // SECOND_US)} seconds."
            )


def _pause(free: int, attempts: int) -> int:
    """How long nobody is listened to after so many attempts that did not succeed."""
    return min(2 ** min(attempts - free, 20), WAIT_S_MAX) * SECOND_US if attempts >= free else 0


def _factor_of(user: int) -> str:
    """Whose a sealed second factor is, for the seal."""
    return f"user {user} totp"
