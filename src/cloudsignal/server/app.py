"""The composition root: the only module that knows every part."""

import asyncio
import gc
import importlib
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from uvicorn import Config, Server

from cloudsignal.asgi import Receive, Scope, Send
from cloudsignal.protocol import http
from cloudsignal.protocol.excerpts import Sent
from cloudsignal.protocol.http import PATHS, REMOVED_PATHS
from cloudsignal.protocol.refusals import Refusal
from cloudsignal.protocol.wire import Receipt
from cloudsignal.server import addresses, growth
from cloudsignal.server.asgi import Answer, address, answer
from cloudsignal.server.bookkeeper import Bookkeeper
from cloudsignal.server.clock import Clock
from cloudsignal.server.cloudcore import endpoint as cloudcore
from cloudsignal.server.connections import BACKLOG, Connection, allow_many
from cloudsignal.server.deliverer import Deliverer
from cloudsignal.server.events import Followers
from cloudsignal.server.group_commit import GroupCommit
from cloudsignal.server.health import Health
from cloudsignal.server.ingest import Ingest
from cloudsignal.server.interfaces import Caller, Interfaces
from cloudsignal.server.keys import Keyring, secret_of
from cloudsignal.server.logs import FailedLines, Logger, RefusedLines
from cloudsignal.server.metrics import Metrics
from cloudsignal.server.owners import Owners
from cloudsignal.server.posts import Posts
from cloudsignal.server.scoreboard import Scoreboard
from cloudsignal.server.settings import InForce
from cloudsignal.server.store.log import Arrival
from cloudsignal.server.store.store import Store
from cloudsignal.server.tokens import Tokens
from cloudsignal.server.writer import GC_ALLOCATIONS, Started, task_of
from cloudsignal.stalled import close_stalled

API: Final = "cloudsignal.server.api"
PANEL: Final = "cloudsignal.server.panel.application"
DESK: Final = "cloudsignal.server.delivery.desk"
SEALING: Final = "cloudsignal.server.delivery.sealing"
ALERT_DESK: Final = "cloudsignal.server.alerting.desk"
FAILURES: Final = "cloudsignal.server.panel.failures"


class App:
    """All parts, wired together; an ASGI application."""

    def __init__(
        self,
        in_force: InForce,
        store: Store,
        keyring: Keyring,
        logger: Logger,
        clock: Clock,
        writer: Started | None = None,
        shared: Path | None = None,
    ) -> None:
        """``writer`` is one that was started already, ``shared`` its place among others."""
        self.settings = settings = in_force.settings
        self._in_force = in_force
        self._logger = logger
        self.store = store
        self.followers = Followers(store, most=settings.events_max)
        self.tokens = Tokens(store, keyring)
        self._lines = RefusedLines(logger, settings.refused_lines_per_minute, clock)
        self._interfaces = Interfaces(settings, store, keyring, clock)
        self._group_commit = GroupCommit(
            task_of(settings),
            queue_max=settings.queue_max,
            queue_bytes_max=settings.queue_bytes_max,
            watch=self._written,
            failed=FailedLines(logger, clock),
            first=writer,
        )
        self._deliverer = Deliverer(settings, store, logger)
        self._bookkeeper = Bookkeeper(settings, store, logger)
        self._metrics = Metrics(lambda: self._group_commit.waiting, self._deliverer.told)
        self._posts = Posts(store, settings.post_log_days, clock, logger.warning)
        self._scoreboard = Scoreboard(shared, self._metrics.figures)
        self._health = Health(
            settings,
            store,
            self.tokens,
            self._scoreboard.total,
            lambda: self._group_commit.is_up,
        )
        self._ingest = Ingest(settings, self._interfaces, self._group_commit, clock, self.refused)
        owners = Owners(store, keyring, clock, self._interfaces.strangers)
        self._cloudcore = cloudcore.CloudCore(owners, store.owned)
        self._background: list[asyncio.Task[Any]] = []
        self._keyring = keyring
        self._clock = clock
        self._pages: asyncio.Task[tuple[Any, Any]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to the part that answers it."""
        path = scope.get("path")
        if path in PATHS:
            await self._surely(self._ingest, scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        elif path in self._health.paths:
            await self._surely(self._health, scope, receive, send)
        elif cloudcore.is_its(scope["path"]):
            await self._surely(self._cloudcore, scope, receive, send)
        elif path in REMOVED_PATHS:
            await self._removed(scope, send)
        elif self._pages is not None:
            api, panel = await asyncio.shield(self._pages)
            await (panel if _is_for_people(scope["path"]) else api)(scope, receive, send)

    def take(self, scope: Scope, body: bytes, answer: Answer) -> bool:
        """Take in an ordinary post that is all there; false for every other request."""
        if scope["path"] not in PATHS:
            return False
        try:
            return self._ingest.take(scope, body, answer)
        except Exception:
            return False  # As an ASGI request it fails in the same way, and says so.

    async def start(self) -> None:
        """Begin to take signals; the API is there a moment later."""
        await self._group_commit.start()
        await asyncio.to_thread(self._interfaces.load)
        self._posts.start()
        self._pages = asyncio.create_task(asyncio.to_thread(self._load_pages))
        self._background = [
            asyncio.create_task(self._interfaces.keep_fresh(self.settings.refresh_s)),
            asyncio.create_task(self._scoreboard.keep_published()),
            asyncio.create_task(self._deliverer.keep()),
            asyncio.create_task(self._bookkeeper.keep()),
        ]
        if self.store.nodes:
            self._background.append(
                asyncio.create_task(
                    growth.watch(self.store, self.followers.present, self.followers.wake)
                )
            )

    async def stop(self) -> None:
        """Write what waits, and end."""
        self.followers.stop()
        for task in self._background:
            task.cancel()
        # One that failed has said so, or will be said to have: it must not cost the posts their answers.
        await asyncio.gather(*self._background, return_exceptions=True)
        # Every post has its answer by now, or is cut off: which came is noted meanwhile.
        await asyncio.gather(self._group_commit.stop(), asyncio.to_thread(self._posts.stop))
        await asyncio.gather(self._deliverer.stop(), self._bookkeeper.stop())
        self._scoreboard.publish()
        self._lines.tell_left_out()

    def watch_connections(self, connections: set[Any]) -> None:
        """Hang up on clients that stall, from now on."""
        self._background.append(
            asyncio.create_task(close_stalled(connections, self.settings.read_timeout_s))
        )

    def _load_pages(self) -> tuple[Any, Any]:
        """The API and the panel; where there is no panel, the API says that nothing is there."""
        # Their framework takes longer to import than everything else together, and no signal needs it.
        try:
            desk = importlib.import_module(DESK).Desk.of(self.store, self.settings)
            api = importlib.import_module(API).create(self.store, self.tokens, self.followers, desk)
            if not self.settings.panel:
                return api, api
            sealer = importlib.import_module(SEALING).Sealer(secret_of(self.settings, make=False))
            alert_desk = importlib.import_module(ALERT_DESK).AlertDesk.of(self.store, self.settings)
            failed = importlib.import_module(FAILURES).FailedSignIns(
                self._metrics.note_failed_sign_in, self._logger.warning
            )
            panel = importlib.import_module(PANEL).create(
                self.store,
                self._keyring,
                desk,
                alert_desk,
                sealer,
                self._clock,
                self.followers,
                self._in_force,
                failed,
            )
            return api, panel
        finally:
            # What is there now stays: looking through it for cycles again and again costs posts.
            gc.collect()
            gc.freeze()
            gc.set_threshold(GC_ALLOCATIONS)
            gc.enable()

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _surely(self, part: Any, scope: Scope, receive: Receive, send: Send) -> None:
        """Have a part answer a request; its defects are answered in the shape of all errors."""
        try:
            await part(scope, receive, send)
        except Exception:
            await answer(scope, send, *self._defect(scope))

    def _defect(self, scope: Scope) -> http.Answer:
        self._logger.exception("defect", path=scope["path"])
        refusal = http.defect()
        self.refused(refusal, address(scope))
        return http.refused(refusal)

    async def _removed(self, scope: Scope, send: Send) -> None:
        refusal = http.removed_version()
        self.refused(refusal, address(scope))
        await answer(scope, send, *http.refused(refusal))

    def _written(
        self, arrivals: Sequence[Arrival], receipts: Sequence[Receipt | None], seconds: float
    ) -> None:
        self._metrics.note_group(arrivals, receipts, seconds)
        self._posts.note_group(arrivals, receipts)
        self.followers.wake()
        self._deliverer.wake()

    def refused(
        self,
        refusal: Refusal,
        address: str,
        caller: Caller | None = None,
        sent: Sent | None = None,
    ) -> None:
        """Count a refused post, remember it, and log it."""
        self._metrics.note_refused(refusal)
        self._posts.note_refused(refusal, address, caller, sent)
        self._lines(refusal, address, caller)


def _is_for_people(path: str) -> bool:
    return path in ("/", "/panel") or path.startswith("/panel/")


class _Server(Server):
    """uvicorn's server, which ends its streams and exits with 0 when it is asked to stop."""

    def __init__(
        self,
        config: Config,
        app: App,
        ready: Callable[[str], None],
        parent: socket.socket | None,
    ) -> None:
        super().__init__(config)
        self._app = app
        self._ready = ready
        self._parent = parent

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM or SIGINT: no new posts, answer what was accepted, end."""
        self.should_exit = True

    async def startup(self, sockets: Any = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self._app.watch_connections(self.server_state.connections)
        if self._parent is not None:
            asyncio.get_running_loop().add_reader(self._parent, self._abandoned, self._parent)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        self._ready(addresses.url(host, port))

    def _abandoned(self, parent: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(
            parent
        )  # The process that started this one is gone.
        self.should_exit = True

    async def shutdown(self, sockets: Any = None) -> None:
        """Stop listening."""
        self._app.followers.stop()
        await super().shutdown(sockets)


def serve(
    app: App,
    ready: Callable[[str], None],
    sockets: list[socket.socket],
    parent: socket.socket | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, or until ``parent`` hangs up.

    ``ready`` is told the server's address once it listens.
    """
    settings = app.settings
    allow_many()
    # Whose address a request has is for uvicorn to say where proxies are trusted, and it tells the
    # application only.
    take = _take_none if settings.trusted_proxies else app.take
    connection: Any = partial(Connection, refused=app.refused, take=take)
    config = Config(
        app,
        http=connection,
        loop="uvloop",
        ws="none",
        lifespan="on",
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        date_header=False,
        server_header=False,
        access_log=False,
        log_config=None,
        backlog=BACKLOG,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=settings.shutdown_s,
    )
    _Server(config, app, ready, parent).run(sockets)


def _take_none(scope: Scope, body: bytes, answer: Answer) -> bool:
    return False
