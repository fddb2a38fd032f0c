"""The store on PostgreSQL keeps the contract."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from cloudsignal.server.store.backends import backend_of
from cloudsignal.server.store.database import Database
from cloudsignal.server.store.reading import ItemQuery
from cloudsignal.server.store.schema import metadata
from cloudsignal.server.store.store import Store, open_store
from tests import postgresql
from tests.server.arrivals import arrival, report
from tests.server.store import told
from tests.server.store.contract import OF_SOME, StoreContract
from tests.server.store.search_contract import asked

LATER_TABLES = {
    "0002": ("owner_keys", "owners", "orders", "order_items"),
    "0003": ("endpoints", "nodes", "deliveries", "attempts"),
    "0004": (
        *("users", "invitations", "sessions", "tries", "changes", "filters"),
        *("calendars", "rollups", "counted_items", "counted_orders", "recounts", "leases"),
        *("posts", "uses", "strangers", "refusals"),
        *("alert_rules", "alerts", "alert_ways", "alert_news", "alert_messages"),
    ),
}
"""What a store of each version did not have yet."""


LATER_INDEXES = {
    "0003": ("orders_owner_registered_order", "orders_owner_reference"),
    "0004": (
        *("orders_reference", "order_items_item", "order_items_reference"),
        *("states_delayed_position", "states_test_position"),
    ),
}
"""Indexes of tables that were there before them."""
SEARCHED = {
    "counted_orders": ("order",),
    "items": ("order", "item"),
    "order_items": ("item", "order", "reference"),
    "orders": ("order", "reference"),
    "parcels": ("tracking",),
    "recounts": ("order",),
}
"""Columns that are in the order of their bytes; those of older tables were in that of the database's language."""


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

    @pytest.fixture
    def read_whole(self) -> Callable[[Store, str, Any], list[str]]:
        def tables(store: Store, statement: str, parameters: Any) -> list[str]:
            return [
                node["Relation Name"]
                for node in nodes_of(plan_of(store, statement, parameters))
                if "Relation Name" in node and not leads_somewhere(node)
            ]

        return tables

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

    def test_the_signals_of_a_print_partner_are_never_looked_for_along_those_of_all(
        self, store: Store, url: str
    ) -> None:
        """Of one with most of the signals, all of them long ago, that would be a way through nearly all."""
        for partner, count in ((1, 750), (2, 250)):
            of = [report(order=f"{partner}-{number}") for number in range(count)]
            store.append([arrival(*of, partner=partner)])
        postgresql.execute(url, "ANALYZE")

        with asked(store) as questions:
            assert store.reading.items(ItemQuery(partner="Alpha", limit=1))
            assert store.reading.items(ItemQuery(partner="Alpha", state="registered", limit=1))
        used = {
            node.get("Index Name", "none")
            for statement, parameters in questions
            if "signals.partner" in statement
            for node in nodes_of(plan_of(store, statement, parameters))
            if node.get("Relation Name", "").startswith("signals_")
        }
        assert used
        assert [each for each in used if not each.endswith("_partner_position_idx")] == []

    def test_the_tables_in_the_code_are_those_of_the_store(self, store: Store, url: str) -> None:
        with closing(Database(backend_of(url))) as database, database.reading() as connection:
            context = MigrationContext.configure(
                connection,
                opts={"compare_type": True, "include_name": is_no_part_of_the_log},
            )
            assert compare_metadata(context, metadata) == []

    def test_what_is_searched_is_in_the_order_of_its_bytes(self, store: Store, url: str) -> None:
        asked = (
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND collation_name = 'C' ORDER BY 1, 2"
        )
        expected = [(table, column) for table in SEARCHED for column in SEARCHED[table]]

        assert postgresql.execute(url, asked) == sorted(expected)

    @pytest.mark.parametrize("version", LATER_TABLES)
    def test_a_store_of_an_older_version_is_brought_up_to_date(
        self, url: str, version: str
    ) -> None:
        with closing(open_store(url)) as store:
            store.append([arrival(report())])
            store.orders.create_owner("Ink", now=1)
        for table in later(LATER_TABLES, version):
            postgresql.execute(url, f"DROP TABLE {table} CASCADE")
        for index in later(LATER_INDEXES, version):
            postgresql.execute(url, f"DROP INDEX IF EXISTS {index}")
        for table, columns in SEARCHED.items():
            for column in columns if table not in later(LATER_TABLES, version) else ():
                change = f'ALTER COLUMN "{column}" TYPE varchar COLLATE "default"'
                postgresql.execute(url, f"ALTER TABLE {table} {change}")
        postgresql.execute(url, f"UPDATE alembic_version SET version_num = '{version}'")

        with closing(open_store(url)) as store:
            assert store.reading.last_position() == 1
            self.test_the_tables_in_the_code_are_those_of_the_store(store, url)
            self.test_what_is_searched_is_in_the_order_of_its_bytes(store, url)
            number = store.orders.create_owner("Books", now=1).id
            assert number == (1 if version == "0002" else 2)
            endpoint = told.endpoint(store)
            assert (endpoint.id, endpoint.owner, endpoint.position) == (1, number, 1)
            assert len(store.deliveries.look({1}, after=0, limit=9).signals) == 1


def plan_of(store: Store, statement: str, parameters: Any) -> Any:
    """How a question is answered, if tables are not read whole, which would be right for small ones."""
    with store._database.reading() as connection:
        for way in ("seqscan", "hashjoin", "mergejoin"):
            connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
        explain = f"EXPLAIN (FORMAT JSON) {statement}"
        [found] = connection.exec_driver_sql(explain, parameters).scalar_one()
    return found["Plan"]


def nodes_of(plan: Any) -> Iterator[Any]:
    """A plan, and all that it consists of."""
    yield plan
    for each in plan.get("Plans", []):
        yield from nodes_of(each)


def leads_somewhere(node: Any) -> bool:
    """Whether a table is entered by an index, at the place that is asked for or where all is asked for."""
    return any("Index Cond" in each or each.get("Index Name") in OF_SOME for each in nodes_of(node))


def later(what: dict[str, tuple[str, ...]], version: str) -> list[str]:
    """What a store of a version did not have yet."""
    return [each for since in what if since >= version for each in what[since]]


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
