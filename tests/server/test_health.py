"""/healthz, /readyz and /metrics."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cloudsignal.server.health import Health
from cloudsignal.server.keys import Keyring, new_token
from cloudsignal.server.metrics import Metrics
from cloudsignal.server.settings import Settings
from cloudsignal.server.store.store import Store, open_store
from cloudsignal.server.tokens import Tokens
from tests.server.arrivals import arrival
from tests.server.store.contract import furnish

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{path}")) as store:
        furnish(store)
        store.append([arrival()])
        yield store


KEYRING = Keyring("secret")


class Asked:
    """Health with a switch for the writer, asked without a server."""

    def __init__(self, store: Store, **settings: Any) -> None:
        self.writes = True
        self._health = Health(
            Settings(**settings),
            store,
            Tokens(store, KEYRING),
            Metrics(lambda: 0).figures,
            lambda: self.writes,
        )

    async def __call__(
        self,
        path: str,
        method: str = "GET",
        client: str | None = "127.0.0.1",
        authorization: str | None = None,
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            raise AssertionError("it reads no body")

        headers = [(b"authorization", authorization.encode())] if authorization else []
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": headers,
            "client": (client, 1) if client is not None else None,
        }
        await self._health(scope, receive, send)
        start, body = sent
        return start["status"], dict(start["headers"]), body["body"]


@pytest.fixture
def asked(store: Store) -> Asked:
    return Asked(store)


async def test_it_is_alive_whatever_the_store_does(asked: Asked, store: Store, path: Path) -> None:
    store._database.engine.dispose()
    path.unlink()  # noqa: ASYNC240 - in no time
    asked.writes = False

    status, headers, body = await asked("/healthz")

    assert (status, json.loads(body)) == (200, {"status": "ok"})
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"cache-control"] == b"no-store"


async def test_it_is_ready_when_it_reads_and_writes(asked: Asked) -> None:
    status, _, body = await asked("/readyz", client=None)

    assert (status, json.loads(body)) == (200, {"status": "ready", "position": 1})


async def test_it_is_not_ready_without_a_writer(asked: Asked) -> None:
    asked.writes = False

    status, _, body = await asked("/readyz")

    assert status == 503
    assert "cannot be written" in json.loads(body)["status"]


async def test_it_is_not_ready_without_its_store(asked: Asked, path: Path) -> None:
    path.rename(path.with_name("away.db"))  # noqa: ASYNC240

    status, _, body = await asked("/readyz")

    assert status == 503
    assert "cannot be read" in json.loads(body)["status"]


@pytest.mark.parametrize("asked_path", ["/healthz", "/readyz", "/metrics"])
@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("POST", 405), ("DELETE", 405)])
async def test_it_is_only_asked_never_told(
    asked: Asked, asked_path: str, method: str, status: int
) -> None:
    found, headers, _ = await asked(asked_path, method)

    assert found == status
    assert headers.get(b"allow") == (b"GET, HEAD" if status == 405 else None)


@pytest.mark.parametrize("client", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"])
async def test_figures_are_for_near_addresses(asked: Asked, client: str) -> None:
    status, headers, body = await asked("/metrics", client=client)

    assert status == 200
    assert headers[b"content-type"].startswith(b"text/plain; version=")
    assert b"cloudsignal_queue_signals 0.0" in body


@pytest.mark.parametrize("client", ["192.0.2.7", "2001:db8::1", "", None])
async def test_figures_are_for_nobody_else_without_a_token(
    asked: Asked, client: str | None
) -> None:
    status, headers, body = await asked("/metrics", client=client)

    assert status == 401
    assert headers[b"content-type"] == b"application/json"
    assert b"cloudsignal_queue" not in body


async def test_figures_are_for_holders_of_a_token_anywhere(asked: Asked, store: Store) -> None:
    token = new_token()
    store.access.create_token("metrics", "reader", KEYRING.digest(token), now=1)

    status, _, _ = await asked("/metrics", client="192.0.2.7", authorization=f"Bearer {token}")
    assert status == 200

    store.access.revoke_token("metrics", now=2)
    status, _, _ = await asked("/metrics", client="192.0.2.7", authorization=f"Bearer {token}")
    assert status == 401


async def test_who_is_near_is_a_setting(store: Store) -> None:
    asked = Asked(store, metrics_allow=("192.0.2.0/24",))

    assert (await asked("/metrics", client="192.0.2.7"))[0] == 200
    assert (await asked("/metrics", client="127.0.0.1"))[0] == 401
