"""What every store promises, whatever is behind it: a backend's tests inherit this class.

They give it the fixtures ``store`` (furnished, see below), ``another`` (the same store opened a
second time), ``new_store`` (makes furnished stores), ``fault`` (makes a group fail midway) and
``read_whole`` (which tables are read as a whole to answer a question).
"""

from typing import Final

from cloudsignal.server.store.schema import metadata
from cloudsignal.server.store.store import Store
from tests.server.store.access_contract import AccessContract
from tests.server.store.alerts_contract import AlertsContract
from tests.server.store.appending_contract import AppendingContract
from tests.server.store.attempts_contract import AttemptsContract
from tests.server.store.attention_contract import AttentionContract
from tests.server.store.cursors_contract import CursorsContract
from tests.server.store.deliveries_contract import DeliveriesContract
from tests.server.store.delivery_log_contract import DeliveryLogContract
from tests.server.store.digest_contract import DigestContract
from tests.server.store.endpoints_contract import EndpointsContract
from tests.server.store.filters_contract import FiltersContract
from tests.server.store.forwarding_contract import ForwardingContract
from tests.server.store.nodes_contract import NodesContract
from tests.server.store.open_items_contract import OpenItemsContract
from tests.server.store.orders_contract import OrdersContract
from tests.server.store.owned_contract import OwnedContract
from tests.server.store.posts_contract import PostsContract
from tests.server.store.pruning_contract import PruningContract
from tests.server.store.reading_contract import ReadingContract
from tests.server.store.rebuilding_contract import RebuildingContract
from tests.server.store.reckoning_contract import ReckoningContract
from tests.server.store.recounting_contract import RecountingContract
from tests.server.store.rollups_contract import LeasesContract, RollupsContract
from tests.server.store.search_contract import SearchContract
from tests.server.store.users_contract import UsersContract

OF_SOME: Final = {
    index.name
    for table in metadata.tables.values()
    for index in table.indexes
    if index.dialect_options["sqlite"]["where"] is not None
}
"""Indexes of some rows only: who reads one from its beginning has what was looked for."""


def furnish(store: Store) -> None:
    """Two print partners, with interfaces 1 and 3 for the first, 2 for the second."""
    alpha = store.access.create_partner("Alpha", now=1)
    beta = store.access.create_partner("Beta", now=2)
    for digest, partner in (("a", alpha), ("b", beta), ("c", alpha)):
        store.access.create_interface(partner, digest, timezone="UTC", allow=(), test=False, now=3)


class StoreContract(
    AppendingContract,
    ReadingContract,
    SearchContract,
    RebuildingContract,
    AccessContract,
    CursorsContract,
    DigestContract,
    PruningContract,
    OrdersContract,
    OwnedContract,
    EndpointsContract,
    DeliveriesContract,
    DeliveryLogContract,
    NodesContract,
    AttemptsContract,
    UsersContract,
    RollupsContract,
    LeasesContract,
    PostsContract,
    FiltersContract,
    ForwardingContract,
    ReckoningContract,
    OpenItemsContract,
    RecountingContract,
    AlertsContract,
    AttentionContract,
):
    """All of it."""
