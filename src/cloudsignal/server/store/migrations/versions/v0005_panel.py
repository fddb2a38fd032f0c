"""What the panel needs: people who sign in, what they change, and finding by how a text begins."""

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
    _changes()
    _search()


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


def _order_by_bytes() -> None:
    # One statement a table: its rows stay as they are, and each of its indexes is made anew once.
    for table, columns in _SEARCHED.items():
        changes = ", ".join(
            f'ALTER COLUMN "{name}" TYPE VARCHAR({length}) COLLATE "C"'
            for name, length in columns.items()
        )
        op.execute(f"ALTER TABLE {table} {changes}")
