"""PostgreSQL through its own driver: how to connect to a store, and what its errors say."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import conninfo
from psycopg.errors import InsufficientPrivilege, InvalidSchemaName, UndefinedTable

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
    # Another search path, or not the store that it was.
    InvalidSchemaName,
    UndefinedTable,
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

LOCK_S: Final = 5
"""How long to wait for a lock, another node's turn among them."""
IDLE_S: Final = 60
"""How long nothing may come in the middle of a transaction before the server ends it: whoever began it
may be gone, or asleep."""

# For the session, whatever the database and the role are set to now or later.
_SESSION: Final = (
    # A commit is on disk when it returns, and on the synchronous standbys' disks if there are any.
    "SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit')"
    " WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false)",
    # Or a commit that has not reached its standby would not say so.
    "SET client_min_messages = warning",
    f"SET lock_timeout = '{LOCK_S}s'",
    f"SET idle_in_transaction_session_timeout = '{IDLE_S}s'",
    "SET idle_session_timeout = 0",
    # A host that vanishes gives its locks back within a quarter of a minute, not after hours.
    "SET tcp_keepalives_idle = 5",
    "SET tcp_keepalives_interval = 3",
    "SET tcp_keepalives_count = 3",
    "SET tcp_user_timeout = 15000",
)


def parameters(url: str) -> Parameters:
    """What libpq reads in a URL, with our defaults. Raises StoreUnusable, and shows no password."""
    try:
        given = conninfo.conninfo_to_dict(url)
    except psycopg.Error as error:
        # What libpq quotes may be a part of a password with an @ or a / in it.
        reason = str(error).partition(":")[0].partition('"')[0].strip()
        raise _unreadable(reason) from None
    if not given.get("dbname"):
        raise StoreUnusable("the URL names no database: write postgresql://HOST/DATABASE")
    _check_places(given)
    return DEFAULTS | given | {"client_encoding": "utf8"}


def _check_places(given: Parameters) -> None:
    """Find an @ or a / of a password that was taken for the end of it. Raises StoreUnusable."""
    hosts, ports = str(given.get("host", "")), str(given.get("port", ""))
    database = str(given["dbname"])
    strange = "@" in hosts or "@" in database or "/" in database
    if strange or not all(port.isdigit() for port in ports.split(",") if port):
        raise _unreadable("a password with special characters?")
    if len(ports.split(",")) not in (1, len(hosts.split(","))):
        raise _unreadable("as many ports as hosts, or one for all")


def _unreadable(reason: str) -> StoreUnusable:
    return StoreUnusable(
        f"this is no URL of a PostgreSQL database ({reason}): write"
        " postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with %-codes for special characters"
    )


def shown(parameters: Parameters) -> str:
    """The URL as it may be shown: who, where and which database, nothing else."""
    user = f"{parameters['user']}@" if parameters.get("user") else ""
    hosts = str(parameters.get("host", "")).split(",")
    ports = str(parameters.get("port", "")).split(",")
    if len(ports) < len(hosts):
        ports = ports[:1] * len(hosts)
    hosts = [f"[{host}]" if ":" in host else host for host in hosts]
    places = [f"{host}:{port}" if port else host for host, port in zip(hosts, ports, strict=True)]
    return f"postgresql://{user}{','.join(places)}/{parameters['dbname']}"


def connect(parameters: Parameters) -> "psycopg.Connection[Any]":
    """A connection that begins no transaction by itself, durable whatever the server is set to.

    Raises StoreUnusable when no store can live in that database.
    """
    connection = psycopg.connect(**parameters, autocommit=True)
    try:
        _check(connection)
        connection.execute("; ".join(_SESSION))
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
