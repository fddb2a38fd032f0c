"""A store, opened: its verbs in one place."""

from collections.abc import Sequence
from contextlib import closing
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

from cloudsignal.server.store import log, rebuilding
from cloudsignal.server.store.access import Access
from cloudsignal.server.store.alert_messages import AlertMessages
from cloudsignal.server.store.alerts import Alerts
from cloudsignal.server.store.attention import Attention
from cloudsignal.server.store.backends import Listening, backend_of
from cloudsignal.server.store.calendars import Calendars
from cloudsignal.server.store.changes import THE_SERVER, Actor, Changes, Notes
from cloudsignal.server.store.cursors import Cursors
from cloudsignal.server.store.database import Database, open_database
from cloudsignal.server.store.deliveries import Deliveries
from cloudsignal.server.store.delivery_log import DeliveryLog
from cloudsignal.server.store.endpoints import Endpoints
from cloudsignal.server.store.filters import Filters
from cloudsignal.server.store.forwarding import Forwarding
from cloudsignal.server.store.leases import Leases
from cloudsignal.server.store.nodes import Nodes
from cloudsignal.server.store.open_items import OpenItems
from cloudsignal.server.store.orders import Orders
from cloudsignal.server.store.owned_orders import OwnedOrders
from cloudsignal.server.store.posts import Posts
from cloudsignal.server.store.progress import Progress, Steps, silent
from cloudsignal.server.store.reading import Reading
from cloudsignal.server.store.rollups import Rollups
from cloudsignal.server.store.search import Search
from cloudsignal.server.store.sessions import Sessions
from cloudsignal.server.store.users import Users

# Imported by the verbs that need them: a server looks after no store, and starts the sooner.
if TYPE_CHECKING:
    from cloudsignal.server.store import copying, digest, pruning, recounting


class Store:
    """Everything the server and the command line ask of a database.

    ``append`` is for one thread; all that has a name of its own is for any number of them.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.shown = database.backend.shown
        """Its URL as it may be shown to anyone."""
        self._writer = database.backend.writer()
        self.owned = OwnedOrders(database)
        self.reading = Reading(database)
        self.search = Search(database)
        self.cursors = Cursors(database)
        self.rollups = Rollups(database)
        self.open_items = OpenItems(database)
        self.leases = Leases(database)
        self.attention = Attention(database)
        self.deliveries = Deliveries(database)
        self.forwarding = Forwarding(database)
        self.tellers = Nodes(database)
        self.changes = Changes(database)
        self.posts = Posts(database)
        self.filters = Filters(database)
        self._act(THE_SERVER)

    def by(self, actor: Actor) -> "Store":
        """The same store, where what is changed is noted as this one's doing."""
        other = copy(self)
        other._act(actor)
        return other

    def _act(self, actor: Actor) -> None:
        database, notes = self._database, Notes(self._database, actor)
        self.access = Access(database, notes)
        self.orders = Orders(database, notes)
        self.endpoints = Endpoints(database, notes)
        self.delivery_log = DeliveryLog(database, notes)
        self.users = Users(database, notes)
        self.calendars = Calendars(database, notes)
        self.alerts = Alerts(database, notes)
        self.alert_messages = AlertMessages(database, notes)
        self.sessions = Sessions(database, notes)

    def append(
        self, arrivals: Sequence[log.Arrival], *, refuse_unregistered: bool = False
    ) -> list[log.Answer]:
        """Write posts to the log in one transaction; on return all of it is on disk.

        One answer a post, in their order. Raises StoreUnavailable when nothing was written.
        """
        return log.append(self._writer, arrivals, refuse_unregistered=refuse_unregistered)

    def rebuild(self, *, mend: bool = True, progress: Progress = silent) -> rebuilding.Rebuilt:
        """Fold every item again from the log, while the server runs or not; put right what differs.

        Nothing is written if it is not to ``mend``. ``progress`` is told after every batch how many
        signals of how many have been folded.
        """
        return rebuilding.rebuild(self._database, mend=mend, progress=progress)

    def count_again(self, *, progress: Progress = silent) -> int | None:
        """Count everything again, if anything ever was counted, while the server runs or not: how many counts, else None.

        ``progress`` is told how many signals of how many are counted. Raises StoreUnavailable.
        """
        from cloudsignal.server.store import recounting

        return recounting.count_again(self._database, progress=progress)

    def compare_counts(self, *, progress: Progress = silent) -> "recounting.Compared":
        """Count everything without writing anything, and compare with the roll-ups. Raises StoreUnavailable."""
        from cloudsignal.server.store import recounting

        return recounting.compare(self._database, progress=progress)

    def digest(self, *, progress: Progress = silent) -> "digest.Digest":
        """What the log holds as one number, the same on every backend.

        Raises StoreUnavailable, also when signals were pruned in the middle of it.
        """
        from cloudsignal.server.store import digest

        return digest.digest(self._database, progress=progress)

    def plan_prune(self, before: int) -> "pruning.Pruned":
        """What ``prune`` would remove. Raises StoreUnavailable."""
        from cloudsignal.server.store import pruning

        return pruning.plan(self._database, before)

    def prune(
        self,
        before: int,
        *,
        folder: Path | None = None,
        progress: Steps = silent,
    ) -> "pruning.Pruned":
        """Remove the signals that arrived before an instant, while the server runs or not.

        With a ``folder`` they are written to files there first. The newest signal of the log stays,
        and so does what a reader has not passed yet. May be interrupted at any moment, and run again.
        Raises ArchiveFailed when nothing was removed because of it, and StoreUnavailable.
        """
        from cloudsignal.server.store import pruning

        return pruning.prune(self._database, before, folder=folder, progress=progress)

    def version(self) -> str | None:
        """The version of its schema. Raises StoreUnavailable."""
        return self._database.version()

    def identity(self) -> str:
        """What tells this store and its copies from all others. Raises StoreUnavailable."""
        return self._database.identity()

    @property
    def nodes(self) -> bool:
        """Whether several processes may serve it."""
        return self._database.backend.nodes

    def listen(self) -> Listening:
        """Begin to hear of other nodes' commits, if it has ``nodes``. Raises StoreUnavailable."""
        return self._database.backend.listen()

    def check(self) -> int:
        """The newest position, if the store is there. Raises StoreUnavailable."""
        self._database.backend.check()
        return self.reading.last_position()

    def close(self) -> None:
        """Give every connection back."""
        self._writer.close()
        self._database.close()


def open_store(url: str) -> Store:
    """Open the store that a database URL names; make it, or bring its schema up to date, first.

    Raises StoreUnusable with a sentence when that cannot be, StoreUnavailable when not just now.
    """
    backend = backend_of(url)
    backend.make()
    return Store(open_database(backend))


def copy_store(source: str, target: str, *, progress: Steps = silent) -> "copying.Copied":
    """Copy the store that one URL names to the one that another names, while its server runs or not.

    What was copied already is left, so it may be interrupted at any moment and run again, also to bring
    a copy up to date. Raises StoreUnusable when the target holds something else, CopyDiffers when the
    two differ at the end, StoreUnavailable.
    """
    from cloudsignal.server.store import copying

    given, wanted = backend_of(source), backend_of(target)
    given.check()  # A source is not made where there is none.
    with closing(open_database(given)) as origin:
        wanted.make()
        with closing(open_database(wanted, for_copying=True)) as copied:
            return copying.copy(origin, copied, progress=progress)
