"""People who sign in, and what they change."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _users()
    _sessions()
    _changes()


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
