"""What a PostgreSQL URL names, and that its password is never shown."""

from contextlib import closing
from pathlib import Path

import pytest

from cloudsignal.server.store.backends import backend_of
from cloudsignal.server.store.errors import StoreUnavailable, StoreUnusable
from cloudsignal.server.store.store import open_store
from tests import postgresql
from tests.server.arrivals import arrival, receipt, report
from tests.server.store.contract import furnish

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://host/db", "postgresql://host/db"),
        ("postgres://host/db", "postgresql://host/db"),
        (f"postgresql://me:{SECRET}@host:5433/db", "postgresql://me@host:5433/db"),
        (f"postgresql://host/db?user=me&password={SECRET}", "postgresql://me@host/db"),
        (f"postgresql://me:{SECRET}@a,b/db?sslmode=require", "postgresql://me@a,b/db"),
        (f"postgresql://me:{SECRET}@a:1,b:2/db", "postgresql://me@a:1,b:2/db"),
        ("postgresql:///db?host=/run/postgresql", "postgresql:///run/postgresql/db"),
        ("postgresql:///db", "postgresql:///db"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    backend = backend_of(url)

    assert backend.shown == shown
    assert backend.secret_path is None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://", "names no database"),
        ("postgresql://host", "names no database"),
        (f"postgresql://me:{SECRET}@host:port%/db", "no URL of a PostgreSQL database"),
        (f"postgresql://me:{SECRET}@host/db?nonsense={SECRET}", "no URL of a PostgreSQL database"),
        (f"postgresql://me:%{SECRET}@host/db", "no URL of a PostgreSQL database"),
    ],
)
def test_a_url_that_names_nothing_is_refused_with_advice(url: str, words: str) -> None:
    with pytest.raises(StoreUnusable, match=words) as refused:
        backend_of(url)

    assert "postgresql://" in str(refused.value)
    assert SECRET not in str(refused.value)


def test_a_server_that_is_not_there_is_told_without_a_password() -> None:
    port = postgresql.free_port()
    with pytest.raises(StoreUnavailable, match="cannot be used just now") as refused:
        open_store(f"postgresql://me:{SECRET}@127.0.0.1:{port}/db")

    assert f"port {port} failed" in str(refused.value)
    assert SECRET not in str(refused.value)


def test_a_database_that_is_not_there_is_told(postgresql_server: str) -> None:
    with pytest.raises(StoreUnavailable, match='database "missing" does not exist'):
        open_store(postgresql.named(postgresql_server, "missing"))


def test_another_programs_database_is_refused_and_left_alone(postgresql_url: str) -> None:
    postgresql.execute(postgresql_url, "CREATE TABLE recipes (name text)")

    with pytest.raises(StoreUnusable, match="something else than a cloudsignal store"):
        open_store(postgresql_url)

    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    assert postgresql.execute(postgresql_url, tables) == [("recipes",)]


def test_a_database_that_cannot_hold_all_texts_is_refused(newest_postgresql: str) -> None:
    with (
        postgresql.database(newest_postgresql, encoding="SQL_ASCII") as url,
        pytest.raises(StoreUnusable, match="encoding SQL_ASCII, signals need UTF8"),
    ):
        open_store(url)


def test_stores_made_by_two_programs_at_once_are_one(postgresql_url: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(lambda: open_store(postgresql_url).close()) for _ in range(8)]:
            done.result()

    parts = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'signals'::regclass"
    assert postgresql.execute(postgresql_url, parts) == [(1,)]


def test_every_connection_is_durable_whatever_the_database_is_set_to(postgresql_url: str) -> None:
    name = postgresql_url.rpartition("/")[2]
    for given, wanted in (("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")):
        postgresql.execute(
            postgresql_url, f"ALTER DATABASE {name} SET synchronous_commit = {given}"
        )

        with backend_of(postgresql_url).connect() as connection:
            assert connection.execute("SHOW synchronous_commit").fetchone() == (wanted,)


def test_without_the_driver_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import subprocess
    import sys

    (tmp_path / "psycopg.py").write_text("raise ModuleNotFoundError(name='psycopg')")
    code = (
        "from cloudsignal.server.store.backends import backend_of; backend_of('postgresql://h/d')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "StoreUnusable: psycopg is missing: pip install 'cloudsignal[server,postgresql]'" in (
        done.stderr
    )


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@{SECRET}@host/db",
        f"postgresql://me:{SECRET}/{SECRET}@host/db",
        f"postgresql://me:1/{SECRET}@host/db",
        "postgresql://host/db?port=1,2",
        "postgresql://host/db?port=x",
    ],
)
def test_what_was_taken_for_another_part_of_the_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(StoreUnusable, match="%-codes for special characters") as refused:
        backend_of(url)

    assert SECRET not in str(refused.value)


def test_an_address_of_ipv6_is_shown_as_it_is_written() -> None:
    assert backend_of("postgresql://me@[::1]:5433/db").shown == "postgresql://me@[::1]:5433/db"


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_the_roles_own_encoding_makes_no_difference(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", encoding)
    with closing(open_store(f"{postgresql_url}?client_encoding={encoding}")) as store:
        furnish(store)
        [answer] = store.append([arrival(report("ItemDelay", cause="€ und ☃"))])

        assert receipt(answer).accepted == 1
        assert "☃" in store.reading.signals(after=0, limit=1)[0].body


def test_a_search_path_that_leads_nowhere_is_told(postgresql_url: str) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be used just now"):
        open_store(f"{postgresql_url}?options=-csearch_path%3D")
