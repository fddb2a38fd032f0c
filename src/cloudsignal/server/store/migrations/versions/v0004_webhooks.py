"""Where owners are told, what of it is noted, and every attempt."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _endpoints()
    _deliveries()
    _attempts()
    # What an owner sees of its orders: the last ones, and those of a reference.
    op.create_index("orders_owner_registered_order", "orders", ["owner", "registered", "order"])
    op.create_index(
        "orders_owner_reference", "orders", ["owner", "reference", "registered", "order"]
    )


def _endpoints() -> None:
    op.create_table(
        "endpoints",
        sa.Column("id", _id, nullable=False),
        sa.Column("owner", _id, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("shown", sa.Text(), nullable=False),
        sa.Column("format", sa.String(length=32), nullable=False),
        sa.Column("types", sa.Text(), nullable=False),
        sa.Column("test", sa.Boolean(), nullable=False),
        sa.Column("newest_only", sa.Boolean(), nullable=False),
        sa.Column("apikey", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("old_secret", sa.Text(), nullable=True),
        sa.Column("old_secret_until", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("node", sa.String(length=64), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["owners.id"], name=op.f("endpoints_owner_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("endpoints_pkey")),
    )
    op.create_index(op.f("endpoints_owner"), "endpoints", ["owner"])
    op.create_table(
        "nodes",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("nodes_pkey")),
    )


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("endpoint", _id, autoincrement=False, nullable=False),
        sa.Column("message", sa.String(length=64), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("order", sa.String(length=128), nullable=False),
        sa.Column("item", sa.String(length=128), nullable=False),
        sa.Column("webhook", sa.Text(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=True),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("endpoint", "message", name=op.f("deliveries_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "deliveries_state_endpoint_position", "deliveries", ["state", "endpoint", "position"]
    )


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", _id, nullable=False),
        sa.Column("endpoint", _id, nullable=False),
        sa.Column("message", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("order", sa.String(length=128), nullable=False),
        sa.Column("item", sa.String(length=128), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("took", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("webhook", sa.Text(), nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("attempts_pkey")),
    )
    op.create_index("attempts_endpoint_id", "attempts", ["endpoint", "id"])
    op.create_index("attempts_message", "attempts", ["message"])
    for name, columns in (
        ("attempts_failed", ["id"]),
        ("attempts_failed_endpoint", ["endpoint", "id"]),
    ):
        failed = sa.text("error <> ''")
        op.create_index(name, "attempts", columns, sqlite_where=failed, postgresql_where=failed)
