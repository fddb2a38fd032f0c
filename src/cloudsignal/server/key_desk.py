"""Where keys are given out: what people want of print partners, interfaces, owners and tokens, checked and done."""

from collections.abc import Sequence
from typing import Generic, TypeVar

from msgspec import Struct

from cloudsignal.protocol.units import HOUR_US
from cloudsignal.server import rules
from cloudsignal.server.keys import Keyring, new_apikey, new_token
from cloudsignal.server.rules import Unfit
from cloudsignal.server.store.access import ROLES, Interface, Key, Partner, Role, Token
from cloudsignal.server.store.orders import Owner, OwnerKey
from cloudsignal.server.store.store import Store

T = TypeVar("T")


class Given(Struct, Generic[T], frozen=True):
    """Whom or what a key or token was given ``to``: it is shown this once. Older ones work until ``overlap_ends``."""

    to: T
    key: str
    overlap_ends: int | None = None

    def __repr__(self) -> str:
        return f"Given({self.to!r})"  # Without the key.


class KeyDesk:
    """The desk of a store at an instant, ``now``, in microseconds.

    Its verbs raise StoreUnavailable, Unfit with what is wrong, AlreadyThere for a name or key that is taken, and
    NotFound.
    """

    def __init__(self, store: Store, keyring: Keyring, *, now: int) -> None:
        self._access = store.access
        self._orders = store.orders
        self._keyring = keyring
        self._now = now

    # ---- print partners and their interfaces ----

    def create_partner(self, name: str) -> Partner:
        """Add a print partner."""
        return self._access.create_partner(rules.name(name), now=self._now)

    def create_interface(
        self,
        partner: str,
        *,
        timezone: str = "UTC",
        allow: Sequence[str] = (),
        test: bool = False,
        apikey: str | None = None,
    ) -> Given[Interface]:
        """Add an interface for a print partner, by name, with a new key unless one is given."""
        key = _key(apikey)
        made = self._access.create_interface(
            self._access.partner(partner),
            self._keyring.digest(key),
            timezone=rules.zone(timezone),
            allow=rules.networks(allow),
            test=test,
            now=self._now,
        )
        return Given(made, key)

    def change_interface(
        self,
        number: int,
        *,
        timezone: str | None = None,
        allow: Sequence[str] | None = None,
        test: bool | None = None,
    ) -> Interface:
        """Change an interface for what comes in from now on; what is None stays as it is."""
        self._check_usable(number)
        return self._access.change_interface(
            number,
            timezone=None if timezone is None else rules.zone(timezone),
            allow=None if allow is None else rules.networks(allow),
            test=test,
        )

    def rotate_key(
        self, number: int, overlap_hours: str | float, apikey: str | None = None
    ) -> Given[Interface]:
        """Give an interface another key; those that it has work for so many hours more."""
        self._check_usable(number)
        key, ends = _key(apikey), self._hours_from_now(overlap_hours)
        digest = self._keyring.digest(key)
        rotated = self._access.rotate_key(number, digest, expires=ends, now=self._now)
        return Given(rotated, key, ends)

    def set_disabled(self, number: int, disabled: bool) -> Interface:
        """Close an interface, or open it again."""
        self._check_usable(number)
        return self._access.set_disabled(number, disabled)

    def revoke(self, number: int) -> Interface:
        """Close an interface for good."""
        return self._access.revoke(number, now=self._now)

    # ---- owners and tokens ----

    def create_owner(self, name: str, *, unregistered: bool = False) -> Owner:
        """Add an owner, who gets what nobody registered if that is said, and nobody else any more."""
        made = rules.name(name)
        return self._orders.create_owner(made, unregistered=unregistered, now=self._now)

    def add_owner_key(
        self, name: str, overlap_hours: str | float, apikey: str | None = None
    ) -> Given[Owner]:
        """Give an owner another key; those that it has work for so many hours more."""
        key, ends = _key(apikey), self._hours_from_now(overlap_hours)
        digest = self._keyring.digest(key)
        owner = self._orders.add_owner_key(name, digest, expires=ends, now=self._now)
        return Given(owner, key, ends)

    def create_token(self, name: str, role: str) -> Given[Token]:
        """Make a token for the API."""
        token, known = new_token(), _role(role)
        digest = self._keyring.digest(token)
        made = self._access.create_token(rules.name(name), known, digest, now=self._now)
        return Given(made, token)

    def revoke_token(self, name: str) -> Token:
        """End a token."""
        return self._access.revoke_token(name, now=self._now)

    def _check_usable(self, number: int) -> None:
        if self._access.interface(number).state == "revoked":
            raise Unfit(f"interface {number} is revoked for good: create another one")

    def _hours_from_now(self, hours: str | float) -> int:
        return self._now + int(rules.overlap_hours(hours) * HOUR_US)


def is_valid(key: Key | OwnerKey, *, now: int) -> bool:
    """Whether a key still opens what it is for."""
    return key.expires is None or key.expires > now


def _key(chosen: str | None) -> str:
    return new_apikey() if chosen is None else rules.apikey(chosen)


def _role(chosen: str) -> Role:
    for role in ROLES:
        if role == chosen:
            return role
    raise Unfit(f"there is no role {chosen!r} for a token: there are {', '.join(ROLES)}")
