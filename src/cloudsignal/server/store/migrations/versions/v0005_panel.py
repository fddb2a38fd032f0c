"""What the panel needs: who signs in, what they change, how a text begins, posts, counts, and alerts."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


_SEARCHED = {
    "orders": {"order": 128, "reference": 255},
    "order_items": {"order": 128, "item": 128, "reference": 255},
    "items": {"order": 128, "item": 128},
    "parcels": {"tracking": 255},
}


def upgrade() -> None:
    _users()
    _sessions()
    _filters()
    _changes()
    _posts()
    _search()
    _states()
    _rollups()
    _alerts()


def _users() -> None:
    op.create_table(
        "users",
        sa.Column("id", _id, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("partner", _id, nullable=True),
        sa.Column("owner", _id, nullable=True),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("totp", sa.Text(), nullable=True),
        sa.Column("totp_step", sa.BigInteger(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["partner"], ["partners.id"], name=op.f("users_partner_fkey")),
        sa.ForeignKeyConstraint(["owner"], ["owners.id"], name=op.f("users_owner_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("users_pkey")),
        sa.UniqueConstraint("name", name=op.f("users_name_key")),
    )
    op.create_table(
        "invitations",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("user", _id, nullable=True),
        sa.Column("ends", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user"], ["users.id"], name=op.f("invitations_user_fkey")),
        sa.PrimaryKeyConstraint("digest", name=op.f("invitations_pkey")),
        sa.UniqueConstraint("user", name=op.f("invitations_user_key")),
    )


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("user", _id, nullable=False),
        sa.Column("begun", sa.BigInteger(), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("ends", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("agent", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["user"], ["users.id"], name=op.f("sessions_user_fkey")),
        sa.PrimaryKeyConstraint("digest", name=op.f("sessions_pkey")),
    )
    op.create_index(op.f("sessions_user"), "sessions", ["user"])
    op.create_table(
        "tries",
        sa.Column("who", sa.String(length=64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("who", name=op.f("tries_pkey")),
    )


def _filters() -> None:
    op.create_table(
        "filters",
        sa.Column("id", _id, nullable=False),
        sa.Column("user", _id, nullable=False),
        sa.Column("list", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["user"], ["users.id"], name=op.f("filters_user_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("filters_pkey")),
        sa.UniqueConstraint("user", "list", "name", name=op.f("filters_user_list_name_key")),
    )


def _changes() -> None:
    op.create_table(
        "changes",
        sa.Column("id", _id, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("what", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("changes_pkey")),
    )


def _posts() -> None:
    for name, who in (
        ("posts", sa.Column("interface", _id, autoincrement=False, nullable=False)),
        ("strangers", sa.Column("address", sa.String(length=64), nullable=False)),
    ):
        op.create_table(
            name,
            sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
            who,
            sa.Column("outcome", sa.String(length=32), nullable=False),
            sa.Column("posts", sa.BigInteger(), nullable=False),
            sa.Column("last", sa.BigInteger(), nullable=False),
            sa.PrimaryKeyConstraint("hour", who.name, "outcome", name=op.f(f"{name}_pkey")),
            sqlite_with_rowid=False,
        )
    op.create_table(
        "uses",
        sa.Column("interface", _id, autoincrement=False, nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("interface", name=op.f("uses_pkey")),
    )
    op.create_index("strangers_last", "strangers", ["last"])
    op.create_table(
        "refusals",
        sa.Column("id", _id, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("interface", _id, nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("problems", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("refusals_pkey")),
    )
    op.create_index("refusals_interface_type", "refusals", ["interface", "type", "id"])


def _search() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _order_by_bytes()
    called = sa.text("reference <> ''")
    for name, table, columns, condition in (
        ("orders_reference", "orders", ["reference", "order"], called),
        ("order_items_item", "order_items", ["item", "order"], None),
        ("order_items_reference", "order_items", ["reference", "order", "item"], called),
    ):
        op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)


def _states() -> None:
    for name in ("delayed", "test"):
        only = sa.text(name)
        op.create_index(
            f"states_{name}_position",
            "states",
            ["position"],
            sqlite_where=only,
            postgresql_where=only,
        )


def _rollups() -> None:
    called = sa.String(length=128).with_variant(sa.String(128, collation="C"), "postgresql")
    op.create_table(
        "calendars",
        sa.Column("partner", _id, autoincrement=False, nullable=False),
        sa.Column("calendar", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["partner"], ["partners.id"], name=op.f("calendars_partner_fkey")),
        sa.PrimaryKeyConstraint("partner", name=op.f("calendars_pkey")),
    )
    op.create_table(
        "rollups",
        sa.Column("what", sa.String(length=16), nullable=False),
        sa.Column("partner", _id, autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("what", "partner", "at", "key", name=op.f("rollups_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "counted_items",
        sa.Column("item", _id, autoincrement=False, nullable=False),
        sa.Column("partner", _id, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=True),
        sa.Column("announced", sa.BigInteger(), nullable=True),
        sa.Column("odd", sa.Boolean(), nullable=False),
        sa.Column("counts", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("item", name=op.f("counted_items_pkey")),
    )
    going = "state NOT IN ('shipped', 'canceled')"
    for name, columns, condition in (
        ("counted_items_open", ["partner", "state", "since", "item"], going),
        ("counted_items_due", ["due", "item"], f"due IS NOT NULL AND {going}"),
        ("counted_items_partner_due", ["partner", "due", "item"], f"due IS NOT NULL AND {going}"),
        ("counted_items_announced", ["announced", "item"], "announced IS NOT NULL"),
        (
            "counted_items_partner_announced",
            ["partner", "announced", "item"],
            "announced IS NOT NULL",
        ),
        ("counted_items_odd", ["item"], "odd"),
        ("counted_items_partner_odd", ["partner", "item"], "odd"),
    ):
        only = sa.text(condition)
        op.create_index(name, "counted_items", columns, sqlite_where=only, postgresql_where=only)
    op.create_table(
        "counted_orders",
        sa.Column("order", called, nullable=False),
        sa.Column("partner", _id, nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=True),
        sa.Column("counts", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("order", name=op.f("counted_orders_pkey")),
        sqlite_with_rowid=False,
    )
    due = sa.text("due IS NOT NULL")
    for name, columns in (
        ("counted_orders_due", ["due", "order"]),
        ("counted_orders_partner_due", ["partner", "due", "order"]),
    ):
        op.create_index(name, "counted_orders", columns, sqlite_where=due, postgresql_where=due)
    op.create_table(
        "recounts",
        sa.Column("order", called, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("order", name=op.f("recounts_pkey")),
        sqlite_with_rowid=False,
    )
    op.execute(
        'INSERT INTO recounts ("order", revision) SELECT "order", 0 FROM orders WHERE due IS NOT NULL'
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("leases_pkey")),
    )


def _alerts() -> None:
    op.create_table(
        "alert_rules",
        sa.Column("partner", _id, autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("period", sa.BigInteger(), nullable=True),
        sa.Column("grace", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "state", name=op.f("alert_rules_pkey")),
    )
    op.create_table(
        "alerts",
        sa.Column("id", _id, nullable=False),
        sa.Column("item", _id, nullable=False),
        sa.Column("partner", _id, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("limit_s", sa.BigInteger(), nullable=False),
        sa.Column("raised", sa.BigInteger(), nullable=False),
        sa.Column("cleared", sa.BigInteger(), nullable=True),
        sa.Column("why", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("alerts_pkey")),
    )
    for name, columns, condition in (
        ("alerts_open", ["item"], "cleared IS NULL"),
        ("alerts_since", ["since", "id"], "cleared IS NULL"),
        ("alerts_partner_since", ["partner", "since", "id"], "cleared IS NULL"),
        ("alerts_cleared", ["cleared", "id"], "cleared IS NOT NULL"),
        ("alerts_partner_cleared", ["partner", "cleared", "id"], "cleared IS NOT NULL"),
    ):
        only, unique = sa.text(condition), name == "alerts_open"
        op.create_index(
            name, "alerts", columns, unique=unique, sqlite_where=only, postgresql_where=only
        )
    op.create_table(
        "alert_ways",
        sa.Column("way", sa.String(length=16), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("shown", sa.Text(), nullable=False),
        sa.Column("recipients", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=16), nullable=False),
        sa.Column("at", sa.Integer(), nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("way", name=op.f("alert_ways_pkey")),
    )
    op.create_table(
        "alert_news",
        sa.Column("id", _id, nullable=False),
        sa.Column("way", sa.String(length=16), nullable=False),
        sa.Column("alert", _id, nullable=False),
        sa.Column("what", sa.String(length=16), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("alert_news_pkey")),
    )
    op.create_index("alert_news_way", "alert_news", ["way", "id"])
    op.create_table(
        "alert_messages",
        sa.Column("id", _id, nullable=False),
        sa.Column("message", sa.String(length=64), nullable=False),
        sa.Column("way", sa.String(length=16), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("made", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("alert_messages_pkey")),
        sa.UniqueConstraint("message", name=op.f("alert_messages_message_key")),
    )
    waiting = sa.text("state = 'waiting'")
    op.create_index(
        "alert_messages_waiting",
        "alert_messages",
        ["way", "id"],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )


def _order_by_bytes() -> None:
    # One statement a table: its rows stay as they are, and each of its indexes is made anew once.
    for table, columns in _SEARCHED.items():
        changes = ", ".join(
            f'ALTER COLUMN "{name}" TYPE VARCHAR({length}) COLLATE "C"'
            for name, length in columns.items()
        )
        op.execute(f"ALTER TABLE {table} {changes}")
