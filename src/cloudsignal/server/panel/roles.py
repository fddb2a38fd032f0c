"""What people may do and see: the roles, and whose things the narrow ones are about."""

from typing import Any, Final

from cloudsignal.server.panel.rules import Unfit
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.store import Store
from cloudsignal.server.store.users import User, UserRole

ROLES: Final[dict[UserRole, str]] = {
    "reader": "sees everything",
    "operator": "sees and administers everything but users",
    "admin": "does everything",
    "partner": "sees the interfaces and items of one print partner",
    "owner": "sees the orders, endpoints and deliveries of one owner",
}
"""Each with what it means."""


def scope(store: Store, role: str, whose: str) -> dict[str, Any]:
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
