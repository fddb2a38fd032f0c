"""The tables of the store.

One log, what is folded and counted of it, who may speak and sign in, what is registered, who is told, which posts came.
"""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

VERSION: Final = "0005"
"""The Alembic revision that these tables are."""

metadata: Final = MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    }
)

# SQLite numbers rows by an INTEGER PRIMARY KEY only; every other whole number has 64 bits there anyway.
_Id: Final = BigInteger().with_variant(Integer(), "sqlite")


def _searched(length: int) -> String:
    """Text that people look for by its beginning: in the order of its bytes, as SQLite has all text.

    So the one index on it serves beginnings too, whatever language the database speaks.
    """
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def _only(condition: str) -> dict[str, Any]:
    """What makes an index of those rows only that meet a condition."""
    return dict.fromkeys(("sqlite_where", "postgresql_where"), text(condition))


partners: Final = Table(
    "partners",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("created", BigInteger, nullable=False),
)

interfaces: Final = Table(
    "interfaces",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("partner", _Id, ForeignKey("partners.id"), nullable=False, index=True),
    Column("timezone", String(64), nullable=False),
    Column("allow", Text, nullable=False),
    Column("test", Boolean, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("revoked", BigInteger),
    Column("created", BigInteger, nullable=False),
)

apikeys: Final = Table(
    "apikeys",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("interface", _Id, ForeignKey("interfaces.id"), nullable=False, index=True),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger),
)

tokens: Final = Table(
    "tokens",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("revoked", BigInteger),
)

owners: Final = Table(
    "owners",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("created", BigInteger, nullable=False),
    Column("unregistered", Boolean, nullable=False),
)
"""Who orders belong to; one of them at most gets what nobody registered."""

owner_keys: Final = Table(
    "owner_keys",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("owner", _Id, ForeignKey("owners.id"), nullable=False, index=True),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger),
)

_CALLED: Final = _only("reference <> ''")

orders: Final = Table(
    "orders",
    metadata,
    Column("order", _searched(128), primary_key=True),
    Column("owner", _Id, nullable=False),
    Column("partner", _Id),
    Column("reference", _searched(255), nullable=False),
    Column("due", BigInteger),
    Column("tracking_urls", Text, nullable=False),
    Column("registered", BigInteger, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Index("orders_owner_order", "owner", "order"),
    # What an owner sees of its orders: the last ones, and those of a reference.
    Index("orders_owner_registered_order", "owner", "registered", "order"),
    Index("orders_owner_reference", "owner", "reference", "registered", "order"),
    # Whose order it is that is called so. Many orders may have no reference.
    Index("orders_reference", "reference", "order", **_CALLED),
)
"""What is registered of orders, before their first signal or after it; ``tracking_urls`` is JSON."""

order_items: Final = Table(
    "order_items",
    metadata,
    Column("order", _searched(128), primary_key=True),
    Column("item", _searched(128), primary_key=True),
    Column("reference", _searched(255), nullable=False),
    # An item of which no signal has come is found here only.
    Index("order_items_item", "item", "order"),
    Index("order_items_reference", "reference", "order", "item", **_CALLED),
    sqlite_with_rowid=False,
)
"""What their owners call the items of registered orders."""

facts: Final = Table(
    "facts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
"""What the store knows of itself: ``facts.py`` has the names."""

cursors: Final = Table(
    "cursors",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("position", BigInteger, nullable=False),
)
"""How far the readers of the log have come that must miss nothing of it."""

signals: Final = Table(
    "signals",
    metadata,
    Column("position", _Id, primary_key=True),
    Column("item", _Id, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("partner", _Id, nullable=False),
    Column("interface", _Id, nullable=False),
    Column("test", Boolean, nullable=False),
    Column("type", String(32), nullable=False),
    Column("datetime", BigInteger, nullable=False),
    Column("fingerprint", String(32), nullable=False),
    Column("body", Text, nullable=False),
    # Finds the signals of an item, and a repeat among them (contract, section 5): few signals of an
    # item share an instant and a fingerprint, and differ in type or interface.
    Index("signals_item", "item", "datetime", "fingerprint"),
    Index("signals_partner_position", "partner", "position"),
)
"""The log: every accepted signal at its position, in commit order. Instants in microseconds.

``item`` is the position of the item's first signal: the item's number in the store. Items that came
at the same time are worked on at about the same time, so numbering them so keeps what a group
writes close together, however random the platform's ids are.
"""

items: Final = Table(
    "items",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=False),
    Column("order", _searched(128), nullable=False),
    Column("item", _searched(128), nullable=False),
    Column("partner", _Id, nullable=False),
    UniqueConstraint("order", "item", name="items_order_item"),
    Index("items_item", "item"),
)
"""Which items there are, and whose they are: what the first signal says, and no later one changes.

Only registering an order for a print partner does: all of its items are that one's.
"""

DELAYED: Final = "delayed"
"""What holds for items that are delayed."""
TEST: Final = "test"
"""What holds for items of which nothing but tests came."""

states: Final = Table(
    "states",
    metadata,
    Column("item", _Id, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
    Column("delayed", Boolean, nullable=False),
    Column("test", Boolean, nullable=False),
    Column("position", _Id, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Column("summary", LargeBinary, nullable=False),
    # Every index on what signals change costs a group about a tenth of its time, so there is one.
    # For one print partner, its part of the log lists the items when it is read backwards.
    Index("states_state_position", "state", "position"),
    # Of those in which few items are, they cost next to nothing.
    Index("states_delayed_position", "position", **_only(DELAYED)),
    Index("states_test_position", "position", **_only(TEST)),
)
"""How items stand, folded from the log; ``position`` is that of the item's last signal.

Apart from the items, because PostgreSQL writes a row anew into every index whenever one of them has
to change, and those over the platform's ids are large and in random order.
"""

parcels: Final = Table(
    "parcels",
    metadata,
    Column("tracking", _searched(255), primary_key=True),
    Column("item", _Id, primary_key=True),
    Index("parcels_item", "item"),
    sqlite_with_rowid=False,
)
"""Which items a tracking number belongs to: folded from the log as well."""

endpoints: Final = Table(
    "endpoints",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("owner", _Id, ForeignKey("owners.id"), nullable=False, index=True),
    Column("url", Text, nullable=False),
    Column("shown", Text, nullable=False),
    Column("format", String(32), nullable=False),
    Column("types", Text, nullable=False),
    Column("test", Boolean, nullable=False),
    Column("newest_only", Boolean, nullable=False),
    Column("apikey", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("old_secret", Text),
    Column("old_secret_until", BigInteger),
    Column("state", String(16), nullable=False),
    Column("why", Text, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("failing_since", BigInteger),
    Column("node", String(64)),
    Column("created", BigInteger, nullable=False),
)
"""Where owners are told. URL, key and secrets are sealed; ``shown`` is the URL as it may be shown.

``types`` is a list in JSON, empty for all; ``node`` is whose turn it is to tell.
"""

nodes: Final = Table(
    "nodes",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("until", BigInteger, nullable=False),
)
"""Who tells the owners, and until when they are believed to be there."""

deliveries: Final = Table(
    "deliveries",
    metadata,
    Column("endpoint", _Id, primary_key=True, autoincrement=False),
    Column("message", String(64), primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("type", String(32), nullable=False),
    Column("order", String(128), nullable=False),
    Column("item", String(128), nullable=False),
    Column("webhook", Text),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("first", BigInteger),
    Column("due", BigInteger, nullable=False),
    Column("why", Text, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Index("deliveries_state_endpoint_position", "state", "endpoint", "position"),
    sqlite_with_rowid=False,
)
"""Deliveries that are noted: asked for, waiting for another attempt or behind one that does, given up.

All others follow from the log and the cursor of their endpoint. ``number`` is the item's, 0 for what is about
a whole order; ``webhook`` is what is told, less the key, once it was tried.
"""

_FAILED: Final = _only("error <> ''")

attempts: Final = Table(
    "attempts",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("endpoint", _Id, nullable=False),
    Column("message", String(64), nullable=False),
    Column("type", String(32), nullable=False),
    Column("order", String(128), nullable=False),
    Column("item", String(128), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("took", BigInteger, nullable=False),
    Column("status", Integer),
    Column("error", Text, nullable=False),
    Column("address", String(64), nullable=False),
    Column("webhook", Text, nullable=False),
    Column("headers", Text, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Index("attempts_endpoint_id", "endpoint", "id"),
    Index("attempts_message", "message"),
    # Where all goes well, who looks for failures would look through everything.
    Index("attempts_failed", "id", **_FAILED),
    Index("attempts_failed_endpoint", "endpoint", "id", **_FAILED),
)
"""Every attempt to tell an owner: what was sent, less the key, and how it was answered.

``headers`` are pairs in JSON; ``took`` is in microseconds.
"""

calendars: Final = Table(
    "calendars",
    metadata,
    Column("partner", _Id, ForeignKey("partners.id"), primary_key=True, autoincrement=False),
    Column("calendar", Text, nullable=False),
)
"""When print partners work, in JSON; who is not here works always."""

rollups: Final = Table(
    "rollups",
    metadata,
    Column("what", String(16), primary_key=True),
    Column("partner", _Id, primary_key=True, autoincrement=False),
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("key", String(64), primary_key=True),
    Column("count", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""How many of what there are: counted of each print partner, and of all of them together as partner 0.

``at`` is when the time begins that is counted together, in seconds since 1970, 0 where no time is.
"""

OPEN: Final = "state NOT IN ('shipped', 'canceled')"
"""What holds for counted items that are open."""
DUE: Final = "due IS NOT NULL"
"""What holds for those that are due at some time, and for counted orders with items that are."""
ODD: Final = "odd"
"""What holds for those that were both shipped and canceled."""
_OPEN: Final = _only(OPEN)
_ANNOUNCED: Final = _only("announced IS NOT NULL")
_DUE: Final = _only(f"{DUE} AND {OPEN}")
_EXPECTED: Final = _only(DUE)
_ODD: Final = _only(ODD)

counted_items: Final = Table(
    "counted_items",
    metadata,
    Column("item", _Id, primary_key=True, autoincrement=False),
    Column("partner", _Id, nullable=False),
    Column("state", String(16), nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("due", BigInteger),
    Column("announced", BigInteger),
    Column("odd", Boolean, nullable=False),
    Column("counts", LargeBinary, nullable=False),
    # Each with the item, because many may be due or waiting since the same instant, and pages go on from there.
    Index("counted_items_open", "partner", "state", "since", "item", **_OPEN),
    Index("counted_items_due", "due", "item", **_DUE),
    Index("counted_items_partner_due", "partner", "due", "item", **_DUE),
    Index("counted_items_announced", "announced", "item", **_ANNOUNCED),
    Index("counted_items_partner_announced", "partner", "announced", "item", **_ANNOUNCED),
    Index("counted_items_odd", "item", **_ODD),
    Index("counted_items_partner_odd", "partner", "item", **_ODD),
)
"""What each live item was counted as, so that it can be taken back; and what open items are looked for by.

``since`` is when the last was heard of it that counts, ``announced`` until when it will be shipped as its
print partner says, ``odd`` whether it was both shipped and canceled.
"""

counted_orders: Final = Table(
    "counted_orders",
    metadata,
    Column("order", _searched(128), primary_key=True),
    Column("partner", _Id, nullable=False),
    Column("due", BigInteger),
    Column("counts", LargeBinary, nullable=False),
    Index("counted_orders_due", "due", "order", **_EXPECTED),
    Index("counted_orders_partner_due", "partner", "due", "order", **_EXPECTED),
    sqlite_with_rowid=False,
)
"""What registered orders were counted as for those of their items that no signal has come of.

``due`` is when those are due, null where there are none any more.
"""

recounts: Final = Table(
    "recounts",
    metadata,
    Column("order", _searched(128), primary_key=True),
    Column("revision", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Orders that were registered or changed and have to be counted again; the newest revision of all orders for each."""

leases: Final = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("until", BigInteger, nullable=False),
)
"""What only one node at a time does, which one, and until when it is believed to be there."""

alert_rules: Final = Table(
    "alert_rules",
    metadata,
    Column("partner", _Id, primary_key=True, autoincrement=False),
    Column("state", String(16), primary_key=True),
    Column("period", BigInteger),
    Column("grace", BigInteger, nullable=False),
)
"""For how many seconds of working time items may be in a state: at a print partner, or at every one as partner 0.

Without a period they may be in it for any time.
"""

_NOT_CLEARED: Final = _only("cleared IS NULL")

alerts: Final = Table(
    "alerts",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("item", _Id, nullable=False),
    Column("partner", _Id, nullable=False),
    Column("state", String(16), nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("limit_s", BigInteger, nullable=False),
    Column("raised", BigInteger, nullable=False),
    Column("cleared", BigInteger),
    Column("why", String(16), nullable=False),
    # An item is stalled or not: it never has two alerts.
    Index("alerts_open", "item", unique=True, **_NOT_CLEARED),
    Index("alerts_since", "since", "id", **_NOT_CLEARED),
    Index("alerts_partner_since", "partner", "since", "id", **_NOT_CLEARED),
    Index("alerts_cleared", "cleared", "id", **_only("cleared IS NOT NULL")),
    Index("alerts_partner_cleared", "partner", "cleared", "id", **_only("cleared IS NOT NULL")),
)
"""Items that are or were stalled: where, since when, for how many seconds of working time they might be there,
and why that is over."""

alert_ways: Final = Table(
    "alert_ways",
    metadata,
    Column("way", String(16), primary_key=True),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("shown", Text, nullable=False),
    Column("recipients", Text, nullable=False),
    Column("digest", String(16), nullable=False),
    Column("at", Integer, nullable=False),
    Column("timezone", String(64), nullable=False),
    Column("failures", Integer, nullable=False),
    Column("failing_since", BigInteger),
    Column("due", BigInteger, nullable=False),
)
"""How the operator is told of alerts. URL and secret are sealed; ``shown`` is the URL as it may be shown,
``recipients`` a list in JSON. ``at`` is the minute of the day for what is told daily; before ``due`` nothing is
tried again."""

alert_news: Final = Table(
    "alert_news",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("way", String(16), nullable=False),
    Column("alert", _Id, nullable=False),
    Column("what", String(16), nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("alert_news_way", "way", "id"),
)
"""What is to be told of alerts and is in no message yet."""

WAITING: Final = text("state = 'waiting'")
"""What a message that waits is looked for by, in these words: an index is of such rows only."""

alert_messages: Final = Table(
    "alert_messages",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("message", String(64), nullable=False, unique=True),
    Column("way", String(16), nullable=False),
    Column("type", String(16), nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("content", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("made", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("changed", BigInteger, nullable=False),
    Column("why", Text, nullable=False),
    Index("alert_messages_waiting", "way", "id", **_only(WAITING.text)),
)
"""What the operator is or was told of alerts: the same content each time it is tried.

``since`` is when the oldest of it was new; ``why`` what became of the last attempt.
"""

users: Final = Table(
    "users",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("partner", _Id, ForeignKey("partners.id")),
    Column("owner", _Id, ForeignKey("owners.id")),
    Column("password", Text, nullable=False),
    Column("totp", Text),
    Column("totp_step", BigInteger, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created", BigInteger, nullable=False),
)
"""People who sign in to the panel: ``password`` is a digest by argon2, empty before they have chosen one.

``totp`` is sealed; ``totp_step`` is that of the last code that was used: none counts twice.
"""

invitations: Final = Table(
    "invitations",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("user", _Id, ForeignKey("users.id"), unique=True),
    Column("ends", BigInteger, nullable=False),
)
"""Links that let somebody choose a password, once; without a user, that of the first one of all."""

sessions: Final = Table(
    "sessions",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("user", _Id, ForeignKey("users.id"), nullable=False, index=True),
    Column("begun", BigInteger, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Column("ends", BigInteger, nullable=False),
    Column("address", String(64), nullable=False),
    Column("agent", String(255), nullable=False),
)
"""Who is signed in, by the digest of what their browser holds."""

tries: Final = Table(
    "tries",
    metadata,
    Column("who", String(64), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
)
"""Who tried to sign in and did not succeed, by digests of names and addresses; and until when nobody is listened to."""

filters: Final = Table(
    "filters",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("user", _Id, ForeignKey("users.id"), nullable=False),
    Column("list", String(64), nullable=False),
    Column("name", String(100), nullable=False),
    Column("query", Text, nullable=False),
    UniqueConstraint("user", "list", "name"),
)
"""Filters of lists that people save for themselves; ``query`` is what stands in the list's address."""

changes: Final = Table(
    "changes",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("address", String(64), nullable=False),
    Column("what", String(64), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("before", Text),
    Column("after", Text),
)
"""What people changed: who, from where, what it was before and after, in JSON."""

posts: Final = Table(
    "posts",
    metadata,
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("interface", _Id, primary_key=True, autoincrement=False),
    Column("outcome", String(32), primary_key=True),
    Column("posts", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""How many posts came through an interface in an hour, by what they were answered, and when the last one did.

``hour`` is the instant at which it begins; the interface of those whose key nobody has is 0.
"""

uses: Final = Table(
    "uses",
    metadata,
    Column("interface", _Id, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
)
"""When the last post came through an interface, which is kept when the hours are forgotten."""

strangers: Final = Table(
    "strangers",
    metadata,
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("address", String(64), primary_key=True),
    Column("outcome", String(32), primary_key=True),
    Column("posts", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Index("strangers_last", "last"),
    sqlite_with_rowid=False,
)
"""The same of posts through no interface, by where they came from."""

refusals: Final = Table(
    "refusals",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("interface", _Id, nullable=False),
    Column("address", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("type", String(32), nullable=False),
    Column("problems", Text, nullable=False),
    Column("body", Text, nullable=False),
    Index("refusals_interface_type", "interface", "type", "id"),
)
"""The newest refused posts of each interface and type: ``problems`` in JSON, of the ``body`` an excerpt without keys."""
