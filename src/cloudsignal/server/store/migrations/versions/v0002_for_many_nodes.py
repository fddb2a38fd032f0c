"""What several nodes need: repeats are looked for, not forbidden; what changes of items stands apart.

And what pruning needs: how far the readers of the log have come.

Stores on PostgreSQL begin with this one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    # SQLite can drop neither a constraint nor a column that has an index: new tables are made.
    _signals()
    _items()
    _cursors()


def _signals() -> None:
    op.drop_index("signals_partner_position", table_name="signals")
    op.rename_table("signals", "signals_before")
    op.create_table(
        "signals",
        sa.Column("position", _id, nullable=False),
        sa.Column("item", _id, nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("partner", _id, nullable=False),
        sa.Column("interface", _id, nullable=False),
        sa.Column("test", sa.Boolean(), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("datetime", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.String(length=32), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("signals_pkey")),
    )
    op.execute("INSERT INTO signals SELECT * FROM signals_before")
    op.drop_table("signals_before")
    op.create_index("signals_item", "signals", ["item", "datetime", "fingerprint"])
    op.create_index("signals_partner_position", "signals", ["partner", "position"])


def _items() -> None:
    for index in ("items_item", "items_state_position"):
        op.drop_index(index, table_name="items")
    op.rename_table("items", "items_before")
    op.create_table(
        "items",
        sa.Column("id", _id, autoincrement=False, nullable=False),
        sa.Column("order", sa.String(length=128), nullable=False),
        sa.Column("item", sa.String(length=128), nullable=False),
        sa.Column("partner", _id, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("items_pkey")),
        sa.UniqueConstraint("order", "item", name="items_order_item"),
    )
    op.create_table(
        "states",
        sa.Column("item", _id, autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("delayed", sa.Boolean(), nullable=False),
        sa.Column("test", sa.Boolean(), nullable=False),
        sa.Column("position", _id, nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("summary", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("item", name=op.f("states_pkey")),
    )
    op.execute('INSERT INTO items SELECT id, "order", item, partner FROM items_before')
    op.execute(
        "INSERT INTO states SELECT id, state, delayed, test, position, updated, summary"
        " FROM items_before"
    )
    op.drop_table("items_before")
    op.create_index("items_item", "items", ["item"])
    op.create_index("parcels_item", "parcels", ["item"])
    op.create_index("states_state_position", "states", ["state", "position"])


def _cursors() -> None:
    op.create_table(
        "cursors",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("cursors_pkey")),
    )
