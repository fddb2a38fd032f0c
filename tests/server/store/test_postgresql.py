"""The store on PostgreSQL keeps the contract."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from cloudsignal.server.store.backends import backend_of
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.schema import metadata
from cloudsignal.server.store.store import Store, open_store
from tests import postgresql
from tests.server.arrivals import arrival, report
from tests.server.store import told
from tests.server.store.contract import StoreContract

LATER_TABLES = {
    "0002": ("owner_keys", "owners", "orders", "order_items"),
    "0003": ("endpoints", "nodes", "deliveries", "attempts"),
    "0004": ("users", "invitations", "sessions", "tries", "changes"),
}
"""What a store of each version did not have yet."""


LATER_INDEXES = "orders_owner_registered_order", "orders_owner_reference"
"""Indexes of tables that were there before them."""


class TestPostgreSQL(StoreContract):
    @pytest.fixture
    def new_store(
        self, postgresql_server: str, furnished: str
    ) -> Callable[[], AbstractContextManager[Store]]:
        @contextmanager
        def opened() -> Iterator[Store]:
            with (
                postgresql.database(postgresql_server, furnished) as url,
                closing(open_store(url)) as store,
            ):
                yield store

        return opened

    @pytest.fixture
    def url(self, furnished_url: str) -> str:
        return furnished_url

    @pytest.fixture
    def store(self, url: str) -> Iterator[Store]:
        with closing(open_store(url)) as store:
            yield store

    @pytest.fixture
    def another(self, store: Store, url: str) -> Iterator[Store]:
        """The same store, opened as another process would."""
        with closing(open_store(url)) as another:
            yield another

    @pytest.fixture(params=["signals", "items", "parcels"])
    def fault(
        self, url: str, request: pytest.FixtureRequest
    ) -> Callable[[Store], AbstractContextManager[None]]:
        return lambda store: failing_at(url, request.param)

    def test_a_closed_store_leaves_no_thread_behind(self, url: str) -> None:
        before = set(threading.enumerate())
        with closing(open_store(url)) as store:
            store.append([arrival(report())])
            assert len(store.reading.signals(after=0, limit=9)) == 1
            begun = set(threading.enumerate()) - before
        assert begun
        for each in begun:
            each.join(10)
            assert not each.is_alive()

    def test_a_new_store_is_looked_at_before_its_plans_are_bad(
        self, store: Store, url: str
    ) -> None:
        known = (
            "SELECT relname FROM pg_class WHERE relname IN ('items', 'states') AND reltuples > 0"
        )
        orders = iter(range(1_250))
        for _ in range(5):  # The last of them finds a thousand there.
            same = [report(order=str(next(orders)), item="1") for _ in range(250)]
            assert not postgresql.execute(url, known)
            store.append([arrival(*same)])

        assert len(postgresql.execute(url, known)) == 2

    def test_the_tables_in_the_code_are_those_of_the_store(self, store: Store, url: str) -> None:
        with closing(Database(backend_of(url))) as database, database.reading() as connection:
            context = MigrationContext.configure(
                connection,
                opts={"compare_type": True, "include_name": is_no_part_of_the_log},
            )
            assert compare_metadata(context, metadata) == []

    @pytest.mark.parametrize("version", LATER_TABLES)
    def test_a_store_of_an_older_version_is_brought_up_to_date(
        self, url: str, version: str
    ) -> None:
        with closing(open_store(url)) as store:
            store.append([arrival(report())])
            store.orders.create_owner("Ink", now=1)
        later = [
            table for since in LATER_TABLES if since >= version for table in LATER_TABLES[since]
        ]
        postgresql.execute(url, f"DROP TABLE {', '.join(later)}")
        for index in LATER_INDEXES if version < "0004" else ():
            postgresql.execute(url, f"DROP INDEX IF EXISTS {index}")
        postgresql.execute(url, f"UPDATE alembic_version SET version_num = '{version}'")

        with closing(open_store(url)) as store:
            assert store.reading.last_position() == 1
            self.test_the_tables_in_the_code_are_those_of_the_store(store, url)
            number = store.orders.create_owner("Books", now=1).id
            assert number == (1 if version == "0002" else 2)
            endpoint = told.endpoint(store)
            assert (endpoint.id, endpoint.owner, endpoint.position) == (1, number, 1)
            assert len(store.deliveries.look({1}, after=0, limit=9).signals) == 1


def is_no_part_of_the_log(name: str, kind: str, parents: object) -> bool:
    return not (kind == "table" and name.startswith("signals_"))


@contextmanager
def failing_at(url: str, table: str) -> Iterator[None]:
    """While it lasts, the second row of a group cannot be written to a table."""
    when = {
        "signals": "NEW.position > 2",
        "items": "NEW.item = '2'",
        "parcels": "(SELECT count(*) FROM parcels) = 1",
    }
    postgresql.execute(
        url,
        "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF {when[table]} THEN RAISE EXCEPTION 'a fault for the test'; END IF;"
        " RETURN NEW; END $$",
    )
    postgresql.execute(
        url, f"CREATE TRIGGER fault BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION fault()"
    )
    yield
    postgresql.execute(url, "DROP FUNCTION fault CASCADE")
