"""A database that is away, full or busy is said to be so, and the store works again once it is back."""

from collections.abc import Iterator
from contextlib import ExitStack, closing

import psycopg
import pytest
from psycopg import errors

from cloudsignal.server.store import database
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.postgresql import driver
from cloudsignal.server.store.store import Store, open_store
from tests import postgresql
from tests.server.arrivals import arrival, receipt, report, whole_log
from tests.server.store.contract import furnish


@pytest.fixture
def url(postgresql_server: str) -> Iterator[str]:
    with postgresql.database(postgresql_server) as url:
        yield url


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with closing(open_store(url)) as store:
        furnish(store)
        store.append([arrival(report(item="before"))])
        yield store


def assert_only(store: Store, *items: str) -> None:
    assert [each.item for each in whole_log(store)] == list(items)
    assert store.rebuild().differed == 0


def cut(url: str) -> None:
    """End every session of the database but this one."""
    postgresql.execute(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid != pg_backend_pid()",
    )


def test_connections_that_were_cut_cost_one_group_and_are_made_anew(store: Store, url: str) -> None:
    store.reading.last_position()
    cut(url)

    with pytest.raises(StoreUnavailable, match="cannot be used just now"):
        store.append([arrival(report(item="cut"))])
    with pytest.raises(StoreUnavailable, match="cannot be used just now"):
        store.reading.last_position()

    [answer] = store.append([arrival(report(item="after"))])
    assert receipt(answer).accepted == 1
    assert_only(store, "before", "after")


def test_a_connection_that_is_cut_in_the_middle_of_a_group_leaves_nothing_of_it(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for moment in ("known", "write"):
        with monkeypatch.context() as patch:
            step = getattr(store._writer, moment)
            patch.setattr(
                store._writer, moment, lambda *given, step=step: (cut(url), step(*given))[1]
            )
            post = arrival(report("ItemShipped", item=moment), report(item="before"))
            with pytest.raises(StoreUnavailable):
                store.append([post])
    with pytest.raises(StoreUnavailable):
        store.reading.last_position()

    assert_only(store, "before")


def test_who_gets_no_reader_in_time_is_told_so_and_signals_go_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store._database.engine.pool, "_timeout", 0.01)
    with ExitStack() as readers:
        for _ in range(database.READERS_MAX):
            readers.enter_context(store._database.reading())

        with pytest.raises(StoreUnavailable, match="all readers are busy"):
            store.reading.last_position()
        [answer] = store.append([arrival(report(item="written"))])

    assert receipt(answer).accepted == 1
    assert_only(store, "before", "written")


def test_a_statement_that_takes_too_long_is_given_up(store: Store, url: str) -> None:
    name = url.rpartition("/")[2]
    postgresql.execute(url, f"ALTER DATABASE {name} SET statement_timeout = '50ms'")
    cut(url)
    with pytest.raises(StoreUnavailable):
        store.reading.last_position()
    with closing(psycopg.connect(url)) as holding:
        holding.execute("LOCK TABLE signals")
        with pytest.raises(StoreUnavailable, match="statement timeout"):
            store.reading.last_position()

    assert store.reading.last_position() == 1


def test_a_database_without_a_free_connection_is_told_and_heals(
    postgresql_server: str, url: str
) -> None:
    name = url.rpartition("/")[2]
    user = f"user_{name}"
    postgresql.execute(url, f"CREATE ROLE {user} LOGIN CONNECTION LIMIT 1")
    postgresql.execute(url, f"ALTER DATABASE {name} OWNER TO {user}")
    as_user = url.replace("//postgres", f"//{user}")
    try:
        with closing(open_store(as_user)) as store:
            furnish(store)  # Through the one connection, which stays in the pool.
            with pytest.raises(StoreUnavailable, match="too many connections"):
                store.append([arrival()])
            postgresql.execute(url, f"ALTER ROLE {user} CONNECTION LIMIT 2")
            [answer] = store.append([arrival()])
        assert receipt(answer).accepted == 1
    finally:
        postgresql.execute(url, f"ALTER DATABASE {name} OWNER TO postgres")
        postgresql.execute(url, f"DROP OWNED BY {user}")
        postgresql.execute(url, f"DROP ROLE {user}")


def test_a_database_that_may_only_be_read_is_told_and_heals(store: Store, url: str) -> None:
    name = url.rpartition("/")[2]
    postgresql.execute(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    store._writer.close()

    with pytest.raises(StoreUnavailable, match="read-only"):
        store.append([arrival(report(item="refused"))])

    postgresql.execute(
        url + "?options=-cdefault_transaction_read_only%3Doff",
        f"ALTER DATABASE {name} RESET default_transaction_read_only",
    )
    [answer] = store.append([arrival(report(item="after"))])
    assert receipt(answer).accepted == 1


AWAY = [
    errors.AdminShutdown,
    errors.CannotConnectNow,
    errors.CrashShutdown,
    errors.DeadlockDetected,
    errors.DiskFull,
    errors.FeatureNotSupported,
    errors.IdleInTransactionSessionTimeout,
    errors.InsufficientPrivilege,
    errors.DataCorrupted,
    errors.InvalidPassword,
    errors.IoError,
    errors.LockNotAvailable,
    errors.OutOfMemory,
    errors.QueryCanceled,
    errors.ReadOnlySqlTransaction,
    errors.SerializationFailure,
    errors.TooManyConnections,
    psycopg.InterfaceError,
    psycopg.OperationalError,
]
DEFECTS = [errors.UniqueViolation, errors.SyntaxError, errors.UndefinedColumn, errors.DataError]


@pytest.mark.parametrize("error", AWAY, ids=lambda error: error.__name__)
def test_what_passes_is_told_apart_from_a_defect(error: type[Exception]) -> None:
    found = driver.unavailable(error("the first line\n  and the second"))

    assert str(found) == "the store cannot be used just now: the first line and the second"


@pytest.mark.parametrize("error", DEFECTS, ids=lambda error: error.__name__)
def test_a_defect_is_left_alone(error: type[Exception]) -> None:
    assert driver.unavailable(error("a mistake of ours")) is None
