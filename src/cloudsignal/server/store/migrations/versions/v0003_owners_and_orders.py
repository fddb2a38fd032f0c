"""Owners, their keys, and what is registered of orders."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _owners()
    _orders()


def _owners() -> None:
    op.create_table(
        "owners",
        sa.Column("id", _id, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("unregistered", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("owners_pkey")),
        sa.UniqueConstraint("name", name=op.f("owners_name_key")),
    )
    op.create_table(
        "owner_keys",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("owner", _id, nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["owner"], ["owners.id"], name=op.f("owner_keys_owner_fkey")),
        sa.PrimaryKeyConstraint("digest", name=op.f("owner_keys_pkey")),
    )
    op.create_index(op.f("owner_keys_owner"), "owner_keys", ["owner"])


def _orders() -> None:
    op.create_table(
        "orders",
        sa.Column("order", sa.String(length=128), nullable=False),
        sa.Column("owner", _id, nullable=False),
        sa.Column("partner", _id, nullable=True),
        sa.Column("reference", sa.String(length=255), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=True),
        sa.Column("tracking_urls", sa.Text(), nullable=False),
        sa.Column("registered", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("order", name=op.f("orders_pkey")),
    )
    op.create_index("orders_owner_order", "orders", ["owner", "order"])
    op.create_table(
        "order_items",
        sa.Column("order", sa.String(length=128), nullable=False),
        sa.Column("item", sa.String(length=128), nullable=False),
        sa.Column("reference", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("order", "item", name=op.f("order_items_pkey")),
        sqlite_with_rowid=False,
    )
