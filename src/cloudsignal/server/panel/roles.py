"""What people may do and see: the roles, and whose things the narrow ones are about."""

from typing import Any, Final, Literal

from msgspec import Struct

from cloudsignal.server.rules import Unfit
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.store import Store
from cloudsignal.server.store.users import User, UserRole

ROLES: Final[dict[UserRole, str]] = {
    "reader": "sees everything",
    "operator": "sees and administers everything but users",
    "admin": "does everything",
    "partner": "sees the interfaces and items of one print partner",
    "owner": "sees what is one owner's; tests, pauses, resumes and redelivers there",
}
"""Each with what it means."""

Who = Literal["anybody", "signed in", "reader", "operator", "admin", "partner", "owner"]
"""For whom a page is: one of ``RANK`` stands for those above it too, the narrow roles for themselves only."""
RANK: Final[dict[str, int]] = {"reader": 1, "operator": 2, "admin": 3}
"""Those who see everything, and how much they may do. The others see what is their own."""


def may(user: User, *whos: Who) -> bool:
    """Whether somebody may see what is for these."""
    return any(_is(user, who) for who in whos)


def _is(user: User, who: Who) -> bool:
    if who in ("anybody", "signed in", user.role):
        return True
    return who in RANK and RANK.get(user.role, 0) >= RANK[who]


class Scope(Struct, frozen=True):
    """Whose things somebody sees: those of a print partner or of an owner, by name; everything with neither."""

    partner: str | None = None
    owner: str | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether not everything is seen."""
        return self != Scope()

    @property
    def sees_partners(self) -> bool:
        """Whether it is shown who prints, how it is reported, and what exactly was sent: to owners it is not."""
        return self.owner is None

    @property
    def sees_owners(self) -> bool:
        """Whether it is shown whose orders are, and what owners are told: to print partners it is not."""
        return self.partner is None


def scope_of(user: User) -> Scope:
    """Whose things somebody sees."""
    return Scope(user.partner_name, user.owner_name)


def granted(store: Store, role: str, whose: str) -> dict[str, Any]:
    """A role as a user is to have it, with whose things are seen: a print partner's or an owner's, by name.

    Raises Unfit, StoreUnavailable.
    """
    if role not in ROLES:
        raise Unfit(f"There is no role {role!r}: there are {', '.join(ROLES)}.")
    try:
        if role == "partner":
            return {"role": role, "partner": store.access.partner(whose).id}
        if role == "owner":
            return {"role": role, "owner": store.orders.owner(whose).id}
    except NotFound as error:
        raise Unfit(f"Say whose things the role {role} is to see: {error}.") from None
    if whose:
        raise Unfit(f"The role {role} sees everything, not what is {whose}'s only.")
    return {"role": role}


def state_of(user: User) -> str:
    """How somebody stands: invited, active or disabled."""
    if user.disabled:
        return "disabled"
    return "active" if user.password else "invited"
