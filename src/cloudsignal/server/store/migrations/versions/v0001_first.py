"""The first tables: the log, what is folded from it, and who may speak."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "facts",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("facts_pkey")),
    )
    op.create_table(
        "items",
        sa.Column(
            "id",
            _id,
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("order", sa.String(length=128), nullable=False),
        sa.Column("item", sa.String(length=128), nullable=False),
        sa.Column("partner", _id, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("delayed", sa.Boolean(), nullable=False),
        sa.Column("test", sa.Boolean(), nullable=False),
        sa.Column("position", _id, nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("summary", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("items_pkey")),
        sa.UniqueConstraint("order", "item", name="items_order_item"),
    )
    with op.batch_alter_table("items", schema=None) as batch_op:
        batch_op.create_index("items_item", ["item"], unique=False)
        batch_op.create_index("items_state_position", ["state", "position"], unique=False)

    op.create_table(
        "parcels",
        sa.Column("tracking", sa.String(length=255), nullable=False),
        sa.Column("item", _id, nullable=False),
        sa.PrimaryKeyConstraint("tracking", "item", name=op.f("parcels_pkey")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "partners",
        sa.Column("id", _id, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("partners_pkey")),
        sa.UniqueConstraint("name", name=op.f("partners_name_key")),
    )
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
        sa.UniqueConstraint(
            "item", "type", "datetime", "interface", "fingerprint", name="signals_same"
        ),
    )
    with op.batch_alter_table("signals", schema=None) as batch_op:
        batch_op.create_index("signals_partner_position", ["partner", "position"], unique=False)

    op.create_table(
        "tokens",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("revoked", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("tokens_pkey")),
        sa.UniqueConstraint("name", name=op.f("tokens_name_key")),
    )
    op.create_table(
        "interfaces",
        sa.Column("id", _id, nullable=False),
        sa.Column("partner", _id, nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("allow", sa.Text(), nullable=False),
        sa.Column("test", sa.Boolean(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("revoked", sa.BigInteger(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["partner"], ["partners.id"], name=op.f("interfaces_partner_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("interfaces_pkey")),
    )
    with op.batch_alter_table("interfaces", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("interfaces_partner"), ["partner"], unique=False)

    op.create_table(
        "apikeys",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("interface", _id, nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["interface"], ["interfaces.id"], name=op.f("apikeys_interface_fkey")
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("apikeys_pkey")),
    )
    with op.batch_alter_table("apikeys", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("apikeys_interface"), ["interface"], unique=False)
