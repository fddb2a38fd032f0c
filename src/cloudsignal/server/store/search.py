"""What a person looks for by one text: orders, items, parcels, and what their owners call them."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, get_args

from msgspec import Struct
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    and_,
    exists,
    func,
    literal_column,
    null,
    or_,
    select,
)

from cloudsignal.server.store.database import Database
from cloudsignal.server.store.names import number_or_none
from cloudsignal.server.store.schema import (
    items,
    order_items,
    orders,
    owners,
    parcels,
    partners,
)

LIMIT_MAX: Final = 100
"""How much is found at once at most: who gets so much has to say more."""
LOOKED_AT_MAX: Final = 2_000
"""Among how many that begin so those of one print partner or owner are looked for."""
TIED_MAX: Final = 200
"""Of how many with the very same text the first are chosen."""

Kind = Literal["order", "item", "parcel", "order_reference", "item_reference"]
"""What was found by its id, its tracking number, or what its owner calls it."""
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


class Hit(Struct, frozen=True):
    """What was found: the order, the item unless it is a whole order, and the text by which it was."""

    kind: Kind
    order: str
    item: str | None
    text: str


class Search:
    """The verb that finds. Raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(
        self, text: str, *, limit: int, partner: str | None = None, owner: str | None = None
    ) -> list[Hit]:
        """What is called so, and then what begins so: at most ``limit`` of it, each thing once.

        White space around the text counts for nothing. Both parts are in the order of ``KINDS``, and of one
        kind in that of the texts, orders and items. Only if nothing is found, the text is tried in capitals,
        then in small letters. With the name of a ``partner`` it is orders of which that print partner has
        items, or which are registered for it, and its items; with the name of an ``owner`` it is what is
        registered for that owner. They are looked for among the first ``LOOKED_AT_MAX`` that begin so: a text
        that begins very many may miss some. A ``limit`` beyond ``LIMIT_MAX`` is taken for that.
        """
        limit = min(limit, LIMIT_MAX)
        wanted = text.strip()
        if not wanted or "\0" in wanted:  # PostgreSQL cannot look for it, and nothing has it.
            return []
        with self._database.reading() as connection:
            within = _Within(
                number_or_none(connection, partners, partner),
                number_or_none(connection, owners, owner),
            )
            for spelling in dict.fromkeys((wanted, wanted.upper(), wanted.lower())):
                if found := _find(connection, _Question(spelling, within, limit)):
                    return found
        return []


class _Within(Struct, frozen=True):
    """The numbers of the print partner and the owner of whom everything has to be, ``NOBODY`` for who is not there."""

    partner: int | None
    owner: int | None


class _Question(Struct, frozen=True):
    """One spelling of what is looked for, of whom, and how much."""

    text: str
    within: _Within
    limit: int

    def begins(self, column: Column[str]) -> ColumnElement[bool]:
        """Whether a column begins with the text: as a range, which an index serves."""
        end = after(self.text)
        begun = column >= self.text
        return begun if end is None else and_(begun, column < end)

    @property
    def is_narrow(self) -> bool:
        """Whether much of what begins so may not be meant."""
        return self.within != _Within(None, None)

    @property
    def looked_at(self) -> int:
        """How many that begin so are looked at."""
        return LOOKED_AT_MAX if self.is_narrow else TIED_MAX


def after(text: str) -> str | None:
    """The first text, by its bytes in UTF-8, that comes after all that begin with this one.

    None if nothing comes after them.
    """
    shortened = text.rstrip(chr(sys.maxunicode))
    if not shortened:
        return None
    following = ord(shortened[-1]) + 1
    # Surrogates are no characters.
    following = 0xE000 if following == 0xD800 else following
    return shortened[:-1] + chr(following)


def _find(connection: Connection, question: _Question) -> list[Hit]:
    found = [
        Hit(kind, row.order, row.item, row.text)
        for kind, chosen in _choices(question)
        for row in connection.execute(chosen)
    ]
    found.sort(key=lambda hit: _rank(hit, question.text))
    things: dict[tuple[str, ...], Hit] = {}
    for hit in found:
        things.setdefault(_thing(hit), hit)
    return list(things.values())[: question.limit]


def _rank(hit: Hit, text: str) -> tuple[Any, ...]:
    """What is called so before what only begins so."""
    return hit.text != text, KINDS.index(hit.kind), hit.text, hit.order, hit.item or ""


def _thing(hit: Hit) -> tuple[str, ...]:
    """What a hit leads to: an order, an item, or one of its parcels."""
    return (
        hit.order,
        *([] if hit.item is None else [hit.item]),
        *([hit.text] if hit.kind == "parcel" else []),
    )


def _choices(question: _Question) -> Iterator[tuple[Kind, Select[Any]]]:
    """What is asked of the store: of each kind so much, in its order, that ``limit`` of all are among it."""
    yield "order", _registered_orders(question, orders.c.order)
    if question.within.owner is None:
        yield "order", _heard_orders(question)
    yield "item", _heard_items(question)
    yield "item", _registered_items(question, order_items.c.item)
    yield "parcel", _parcels(question)
    yield "order_reference", _registered_orders(question, orders.c.reference)
    yield "item_reference", _registered_items(question, order_items.c.reference)


def _registered_orders(question: _Question, column: Column[str]) -> Select[Any]:
    """Registered orders of which a column begins with the text."""
    partner, owner = question.within.partner, question.within.owner
    chosen = select(orders.c.order, orders.c.partner, column.label("text"))
    chosen = chosen.where(question.begins(column), *_is_called(column))
    if owner is not None:
        chosen = chosen.where(orders.c.owner == owner)
    looked_at = question.limit if partner is None else LOOKED_AT_MAX
    begun = chosen.order_by(*_first(column, orders.c.order)).limit(looked_at).subquery()
    found = select(begun.c.order, null().label("item"), begun.c.text)
    if partner is not None:
        its_own = items.c.order == begun.c.order, items.c.partner == partner
        # One is looked for, by an index; for "exists" PostgreSQL may read all items of the print partner.
        one = select(items.c.partner).where(*its_own).limit(1).scalar_subquery()
        found = found.where(or_(begun.c.partner == partner, one == partner))
    return found.order_by(begun.c.text, begun.c.order).limit(question.limit)


def _heard_orders(question: _Question) -> Select[Any]:
    """Orders that begin with the text and of which a signal has come."""
    partner = question.within.partner
    needed = [items.c.order] if partner is None else [items.c.order, items.c.partner]
    chosen = select(*needed).where(question.begins(items.c.order))
    begun = chosen.order_by(items.c.order).limit(LOOKED_AT_MAX).subquery()
    found = select(begun.c.order, null().label("item"), begun.c.order.label("text")).distinct()
    if partner is not None:
        found = found.where(begun.c.partner == partner)
    return found.order_by(begun.c.order).limit(question.limit)


def _heard_items(question: _Question) -> Select[Any]:
    """Items that begin with the text and of which a signal has come."""
    chosen = select(items).where(question.begins(items.c.item))
    begun = chosen.order_by(items.c.item).limit(question.looked_at).subquery()
    found = select(begun.c.order, begun.c.item, begun.c.item.label("text"))
    found = found.where(*_is_meant(question.within, begun.c.order, begun.c.partner))
    return found.order_by(begun.c.item, begun.c.order).limit(question.limit)


def _parcels(question: _Question) -> Select[Any]:
    """Items with a tracking number that begins with the text."""
    chosen = select(parcels).where(question.begins(parcels.c.tracking))
    by_number = chosen.order_by(parcels.c.tracking, parcels.c.item)
    begun = by_number.limit(question.looked_at).subquery()
    found = select(items.c.order, items.c.item, begun.c.tracking.label("text"))
    found = found.join(begun, begun.c.item == items.c.id)
    found = found.where(*_is_meant(question.within, items.c.order, items.c.partner))
    ordered = found.order_by(begun.c.tracking, items.c.order, items.c.item)
    return ordered.limit(question.limit)


def _registered_items(question: _Question, column: Column[str]) -> Select[Any]:
    """Items of registered orders of which a column begins with the text, heard of or not."""
    its_own = order_items.c.order, order_items.c.item
    chosen = select(*its_own, column.label("text"))
    chosen = chosen.where(question.begins(column), *_is_called(column))
    looked_at = LOOKED_AT_MAX if question.is_narrow else question.limit
    begun = chosen.order_by(*_first(column, *its_own)).limit(looked_at).subquery()
    found = select(begun.c.order, begun.c.item, begun.c.text)
    if question.within.partner is not None:
        same = (items.c.order == begun.c.order) & (items.c.item == begun.c.item)
        found = found.outerjoin(items, same).join(orders, orders.c.order == begun.c.order)
        # Of an item that was not heard of, the order may say whose it is.
        whose: Any = func.coalesce(items.c.partner, orders.c.partner)
    else:
        whose = null()
    found = found.where(*_is_meant(question.within, begun.c.order, whose))
    return found.order_by(begun.c.text, begun.c.order, begun.c.item).limit(question.limit)


def _first(column: Column[str], *others: Column[str]) -> Iterator[Column[str]]:
    """A column, and then the others: each once, or SQLite would sort what its index has in order."""
    yield column
    yield from (each for each in others if each is not column)


def _is_called(column: Column[str]) -> Sequence[ColumnElement[bool]]:
    """What the indexes of references want to hear: they are without those that have none."""
    return [column != literal_column("''")] if column.name == "reference" else []


def _is_meant(within: _Within, order: Any, partner: Any) -> Iterator[ColumnElement[bool]]:
    """Whether items of an order, with their print partner, are of whom they have to be."""
    if within.partner is not None:
        yield partner == within.partner
    if within.owner is not None:
        registered = orders.alias()
        yield exists().where(registered.c.order == order, registered.c.owner == within.owner)
