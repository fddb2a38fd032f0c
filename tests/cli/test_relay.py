"""``cloudsignal relay``, as it is called."""

import socket

import pytest

from cloudsignal.partner.serving import Serving
from tests.cli.conftest import Run


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_relay_does_not_send_to_itself(
    run: Run, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    # As when the address that all software here posts to stands in the environment of the relay as well.
    port = free_port()
    monkeypatch.setenv("CLOUDSIGNAL_BASE_URL", f"http://localhost:{port}")
    monkeypatch.setenv("CLOUDSIGNAL_APIKEY", "a" * 32)
    done = run("relay", "--host", host, "--port", str(port), "--outbox", "signals.outbox")
    assert "which is the relay itself" in done.failed(6)


async def nothing(*_: object) -> None: ...


@pytest.mark.parametrize(
    ("listens", "asked", "is_it"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "localhost", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "192.0.2.1", False),
        ("0.0.0.0", "127.0.0.2", True),
        ("0.0.0.0", "192.0.2.1", False),
        ("127.0.0.1", "no..where", False),
    ],
)
def test_where_it_listens_is_known(listens: str, asked: str, is_it: bool) -> None:
    serving = Serving(nothing, host=listens)
    port = int(serving.url.rpartition(":")[2])
    assert serving.is_at(asked, port) is is_it
    assert not serving.is_at(asked, port + 1)
    serving.close()
