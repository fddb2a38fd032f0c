from collections.abc import Iterator
from contextlib import closing

import pytest

from cloudsignal.server.store.store import open_store
from tests import postgresql

# The contract's assertions are in modules that pytest does not collect by itself.
CONTRACTS = (
    "access",
    "appending",
    "copying",
    "cursors",
    "digest",
    "pruning",
    "reading",
    "rebuilding",
)
for name in CONTRACTS:
    pytest.register_assert_rewrite(f"tests.server.store.{name}_contract")


@pytest.fixture(scope="session")
def furnished(postgresql_server: str) -> Iterator[str]:
    """The name of a database with a furnished store, to make others from."""
    from tests.server.store.contract import furnish  # Not before its assertions are rewritten.

    with postgresql.database(postgresql_server) as url:
        with closing(open_store(url)) as store:
            furnish(store)
        yield url.rpartition("/")[2]
