"""Alembic migrations of the store, run by the program itself whenever it opens an older one."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


def known() -> set[str]:
    """Every revision that this program knows."""
    script = ScriptDirectory.from_config(_config())
    return {revision.revision for revision in script.walk_revisions()}


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the store to a revision, inside the connection's transaction."""
    command.upgrade(_config(connection), revision)
