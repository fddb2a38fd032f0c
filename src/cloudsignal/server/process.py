"""One server process, from its settings to its end."""

import gc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING

from cloudsignal.server import writer
from cloudsignal.server.settings import InForce
from cloudsignal.server.store.backends import backend_of

# Nothing more yet: the writer is started before all else is imported, so that it is there for the
# first post. It ends with this process, however that ends.
if TYPE_CHECKING:
    from cloudsignal.server.keys import Keyring
    from cloudsignal.server.logs import Logger
    from cloudsignal.server.store.store import Store

Prepare = Callable[["Store", "Keyring"], None]
"""What is to be done with the store before it is served."""
Ready = Callable[["Logger", str], None]
"""Told where the server listens, once it does."""


def run(
    in_force: InForce,
    ready: Ready,
    *,
    prepare: Prepare | None = None,
    sockets: list[socket] | None = None,
    parent: socket | None = None,
    shared: Path | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, or until ``parent`` hangs up.

    ``sockets`` are those to listen on, otherwise those that the settings name; ``shared`` is its
    place in the folder of all processes of this server. Raises StoreError or SettingsError with a sentence.
    """
    settings = in_force.settings
    gc.disable()  # Until the server runs: nothing of what is imported for it is garbage.
    backend_of(settings.database)
    first_writer = writer.start(writer.task_of(settings))
    from cloudsignal.server import app, clock, connections, deliverer, logs
    from cloudsignal.server.keys import open_keyring
    from cloudsignal.server.store.store import open_store

    logger = logs.configure(settings)
    deliverer.check(settings)
    with closing(open_store(settings.database)) as store:
        keyring = open_keyring(settings, store)
        if prepare is not None:
            prepare(store, keyring)
        if sockets is None:
            [sockets] = connections.bind(settings.host, settings.port)
        served = app.App(in_force, store, keyring, logger, clock.now, first_writer, shared)
        app.serve(served, lambda address: ready(logger, address), sockets, parent)
