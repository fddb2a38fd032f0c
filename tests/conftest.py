"""What tests of more than one folder share: a PostgreSQL server of each version that is here."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cloudsignal.server.store.store import open_store
from tests import postgresql

# Before any test imports them. The contract's assertions are in modules that pytest does not collect
# by itself.
for path in Path(__file__).with_name("server").glob("store/*_contract.py"):
    pytest.register_assert_rewrite(f"tests.server.store.{path.stem}")


@pytest.fixture(scope="session")
def furnished(postgresql_server: str) -> Iterator[str]:
    """The name of a database with a furnished store, to make others from."""
    from tests.server.store.contract import furnish  # Not before its assertions are rewritten.

    with postgresql.database(postgresql_server) as url:
        with closing(open_store(url)) as store:
            furnish(store)
        yield url.rpartition("/")[2]


@pytest.fixture(scope="session", params=["newest", "installed"])
def postgresql_programs(request: pytest.FixtureRequest) -> str:
    """What the programs of PostgreSQL are called: the newest, and those that are installed."""
    return _found(request.param)


@pytest.fixture(scope="session")
def postgresql_server(postgresql_programs: str) -> Iterator[str]:
    """The URL of a running server, for the newest PostgreSQL and for the one that is installed."""
    yield from _server(postgresql_programs)


@pytest.fixture(scope="session")
def newest_postgresql() -> Iterator[str]:
    """The URL of a running server of the newest PostgreSQL."""
    yield from _server(_found("newest"))


def _found(name: str) -> str:
    if name not in postgresql.binaries():
        pytest.skip("no PostgreSQL is installed here (Debian: apt-get install postgresql)")
    return name


def _server(name: str) -> Iterator[str]:
    # Nothing in these tests outlives the server, and what does has servers of its own.
    with postgresql.running(name, fsync="off", max_connections=300) as url:
        yield url


@pytest.fixture
def postgresql_url(newest_postgresql: str) -> Iterator[str]:
    """The URL of a new, empty database."""
    with postgresql.database(newest_postgresql) as url:
        yield url


@pytest.fixture
def furnished_url(postgresql_server: str, furnished: str) -> Iterator[str]:
    """The URL of a new database with a furnished store."""
    with postgresql.database(postgresql_server, furnished) as url:
        yield url
