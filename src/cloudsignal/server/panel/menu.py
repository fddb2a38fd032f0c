"""What can be gone to on the panel, by whom: the entries of its menu, each from the route that it leads to."""

from collections.abc import Sequence

from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from cloudsignal.server.panel.roles import Who, may
from cloudsignal.server.store.users import User


class Entry(Struct, frozen=True):
    """A page that can be gone to: its path below the panel's, its name, and what is there."""

    path: str
    title: str
    about: str
    whos: tuple[Who, ...]


class Group(Struct, frozen=True):
    """Entries that belong together."""

    title: str
    entries: tuple[Entry, ...]


Menu = tuple[Group, ...]


def entry(route: HTTPRouteHandler, title: str, about: str) -> Entry:
    """The entry for a page, for those who may see it."""
    [path], [guard] = route.paths, route.guards or ()
    return Entry(path, title, about, guard.whos)  # type: ignore[attr-defined]


def menu_for(menu: Menu, user: User) -> Menu:
    """As much of a menu as somebody may see."""
    groups = (Group(each.title, _seen(each.entries, user)) for each in menu)
    return tuple(each for each in groups if each.entries)


def _seen(entries: Sequence[Entry], user: User) -> tuple[Entry, ...]:
    return tuple(each for each in entries if may(user, *each.whos))
