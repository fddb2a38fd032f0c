"""The composition root: what happens when a part does what it never should."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cloudsignal.asgi import Receive, Scope, Send
from cloudsignal.server import clock
from cloudsignal.server.app import App
from cloudsignal.server.keys import Keyring
from cloudsignal.server.logs import Logger
from cloudsignal.server.settings import InForce, Settings
from cloudsignal.server.store.store import open_store

pytestmark = pytest.mark.anyio


class Broken:
    """A part with a defect."""

    paths = ("/healthz",)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("what nobody thought of")

    def take(self, *post: object) -> bool:
        raise RuntimeError("what nobody thought of")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    settings = Settings(database=f"sqlite:///{tmp_path}/store.db")
    with closing(open_store(settings.database)) as store:
        yield App(InForce(settings, {}), store, Keyring("secret"), Logger(), clock.now)


@pytest.mark.parametrize("path", ["/cloudsignal/2.0/status/", "/cloudcore/1.0/orders/", "/healthz"])
async def test_a_defect_is_answered_in_the_shape_of_all_errors_and_logged_with_its_trace(
    app: App, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(app, "_ingest", Broken())
    monkeypatch.setattr(app, "_health", Broken())
    monkeypatch.setattr(app, "_cloudcore", Broken())
    scope: dict[str, Any] = {"type": "http", "path": path, "client": ("192.0.2.7", 1)}
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nobody reads")

    assert not app.take(scope, b"{}", lambda *answer: pytest.fail("answered twice"))
    await app(scope, receive, send)

    start, body = sent
    assert (start["status"], dict(start["headers"])[b"content-type"]) == (500, b"application/json")
    assert json.loads(body["body"])["error"]["type"] == "defect"
    assert app._metrics.posts["defect"] == 1
    assert "what nobody thought of" in caplog.text
