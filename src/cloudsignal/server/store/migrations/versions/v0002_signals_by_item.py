"""The log's signals are found by their item; what is the same is looked for, not forbidden."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    # SQLite can drop no constraint, PostgreSQL can split no table: a new one serves both.
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
