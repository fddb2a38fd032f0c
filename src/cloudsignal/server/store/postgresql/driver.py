"""PostgreSQL through its own driver: how to connect to a store, and what its errors say."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import conninfo
from psycopg.errors import InsufficientPrivilege

from cloudsignal.server.store.errors import StoreUnavailable, StoreUnusable

# It warns of connections that are lost, which is told here already, and not in the form of our lines.
logging.getLogger("psycopg").setLevel(logging.ERROR)

VERSION_MIN: Final = 15
"""The oldest PostgreSQL that is tested."""
SENTENCE_MAX: Final = 300
"""How much is repeated of what the server or libpq say."""
Parameters = dict[str, Any]

_AWAY: Final = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    # A session or transaction that was ended, a standby, a damaged page.
    psycopg.InternalError,
    # A statement prepared before the schema changed.
    psycopg.NotSupportedError,
    InsufficientPrivilege,
)
"""The errors for which the statement is not to blame."""

DEFAULTS: Final[Parameters] = {
    "application_name": "cloudsignal",
    # Of several hosts the one that can be written to: after a failover, the new primary.
    "target_session_attrs": "read-write",
    "connect_timeout": 5,
    # A host that vanished is noticed within a quarter of a minute, not after hours.
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""What a connection has unless the URL says otherwise."""

# Whatever the database is set to, a commit is on disk when it returns, and on the synchronous
# standbys if there are any.
_DURABLE: Final = (
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
)


def parameters(url: str) -> Parameters:
    """What libpq reads in a URL, with our defaults. Raises StoreUnusable, and shows no password."""
    try:
        given = conninfo.conninfo_to_dict(url)
    except psycopg.Error as error:
        # What libpq quotes may be a part of a password with an @ or a / in it.
        reason = str(error).partition(":")[0].partition('"')[0].strip()
        raise StoreUnusable(
            f"this is no URL of a PostgreSQL database ({reason}): write"
            " postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with %-codes for special characters"
        ) from None
    if not given.get("dbname"):
        raise StoreUnusable("the URL names no database: write postgresql://HOST/DATABASE")
    return DEFAULTS | given


def shown(parameters: Parameters) -> str:
    """The URL as it may be shown: who, where and which database, nothing else."""
    user = f"{parameters['user']}@" if parameters.get("user") else ""
    hosts = str(parameters.get("host", "")).split(",")
    ports = str(parameters.get("port", "")).split(",")
    if len(ports) < len(hosts):
        ports = ports[:1] * len(hosts)
    places = [f"{host}:{port}" if port else host for host, port in zip(hosts, ports, strict=True)]
    return f"postgresql://{user}{','.join(places)}/{parameters['dbname']}"


def connect(parameters: Parameters) -> "psycopg.Connection[Any]":
    """A connection that begins no transaction by itself, durable whatever the server is set to.

    Raises StoreUnusable when no store can live in that database.
    """
    connection = psycopg.connect(**parameters, autocommit=True)
    try:
        _check(connection)
        connection.execute(_DURABLE)
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: "psycopg.Connection[Any]") -> None:
    version = connection.info.server_version // 10_000
    if version < VERSION_MIN:
        raise StoreUnusable(
            f"the server is PostgreSQL {version}: cloudsignal needs {VERSION_MIN} or newer"
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StoreUnusable(
            f"the database has the encoding {encoding}, signals need UTF8: make it with"
            " createdb --encoding UTF8 --template template0"
        )


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the driver says of a store that is away into StoreUnavailable."""
    try:
        yield
    except psycopg.Error as error:
        if found := unavailable(error):
            raise found from error
        raise


def unavailable(cause: BaseException | None) -> StoreUnavailable | None:
    """The error that says so in a sentence, unless the cause is a mistake of ours."""
    if isinstance(cause, _AWAY):
        return StoreUnavailable(f"the store cannot be used just now: {_sentence(cause)}")
    return None


def _sentence(error: BaseException) -> str:
    return " ".join(str(error).split())[:SENTENCE_MAX]
