"""A server behind TLS whose certificate is wrong: nothing is said to it, and what waits is sent once it is right."""

import json
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from cloudsignal import Client, ItemPacked, NoAnswer, Outbox
from cloudsignal.cli.output import Exit
from tests.acceptance.conftest import DEADLINE_S, Server, eventually, fresh
from tests.cli.conftest import Ran, Run
from tests.cli.conftest import run as run
from tests.cli.conftest import url as url
from tests.hops import Hop
from tests.server.arrivals import whole_log

WRONG = {
    "unknown authority": "unable to get local issuer certificate",
    "other host": "not valid for 'localhost'",
    "expired": "certificate has expired",
}
"""What may be wrong with a certificate, and what is said of it."""
ADVICE = (
    "it is not the server that base_url names, or its certificate has to be renewed, or SSL_CERT_FILE has to"
    " name its authority"
)


class Secured:
    """The server behind TLS, with the certificates that its operator gives it."""

    def __init__(self, server: Server, authority: trustme.CA) -> None:
        self._authority = authority
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.renew()
        self.server = server
        self.inside = Hop(server.address, tls=self._tls)
        """What it hears, decrypted."""
        self.wire: Hop
        """What whoever listens on the way hears."""
        self.url = ""

    def renew(self, wrong: str = "") -> None:
        """From now on show another certificate, and what may be wrong with it."""
        authority = trustme.CA() if wrong == "unknown authority" else self._authority
        yesterday = datetime.now(UTC) - timedelta(days=1)
        authority.issue_cert(
            "signals.example.com" if wrong == "other host" else "localhost",
            not_before=yesterday - timedelta(days=1),
            not_after=yesterday if wrong == "expired" else yesterday + timedelta(days=9),
        ).configure_cert(self._tls)

    def has_heard(self, key: str) -> list[str]:
        """Who has heard the key."""
        heard = {"the server": self.inside.sent, "the wire": self.wire.sent}
        return [who for who, what in heard.items() if key.encode() in what]

    def is_stored(self, signal: ItemPacked) -> bool:
        with self.server.store() as store:
            return signal.item in [each.item for each in whole_log(store)]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    """An authority, and the file with its certificate."""
    made = trustme.CA()
    path = tmp_path_factory.mktemp("authority") / "authority.pem"
    made.cert_pem.write_to_path(str(path))
    return made, path


@pytest.fixture
def secured(
    server: Server,
    key: str,
    authority: tuple[trustme.CA, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Secured]:
    """A server that is reached over TLS only, by clients that trust its authority."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority[1]))
    monkeypatch.setenv("CLOUDSIGNAL_PROFILES", str(tmp_path / "profiles.toml"))
    monkeypatch.setenv("CLOUDSIGNAL_APIKEY", key)
    made = Secured(server, authority[0])
    with made.inside:
        made.wire = Hop(made.inside.url)
        with made.wire:
            made.url = made.wire.url.replace("http:", "https:")
            (tmp_path / "profiles.toml").write_text(
                f'[default]\nbase_url = "{made.url}"\ntries = 1\n'
            )
            yield made


@pytest.fixture(params=WRONG)
def wrong(request: pytest.FixtureRequest, secured: Secured) -> str:
    """What is said of the certificate that the server shows."""
    secured.renew(request.param)
    return WRONG[request.param]


def packed() -> ItemPacked:
    return ItemPacked(order=fresh("order"), item=fresh("item"), datetime="2026-01-01T00:00:00Z")


def test_with_the_right_certificate_the_key_is_for_the_server_only(
    secured: Secured, key: str
) -> None:
    signal = packed()
    with Client(secured.url, apikey=key) as client:
        assert client.send(signal).accepted == 1
    assert secured.is_stored(signal)
    assert secured.has_heard(key) == ["the server"]


def test_a_client_says_nothing_to_a_server_it_does_not_trust(
    secured: Secured, key: str, wrong: str
) -> None:
    signal = packed()
    with (
        Client(secured.url, apikey=key, tries=2, sleep=lambda _: None) as client,
        pytest.raises(NoAnswer) as caught,
    ):
        client.send(signal)
    assert wrong in str(caught.value)
    assert ADVICE in str(caught.value)
    assert caught.value.unsent == (signal,)
    assert secured.wire.sent, "it has not even tried"
    assert secured.inside.sent == b""
    assert secured.has_heard(key) == []


def test_an_outbox_keeps_what_waits_until_the_certificate_is_renewed(
    secured: Secured, key: str, wrong: str, tmp_path: Path
) -> None:
    signal = packed()
    with Outbox(tmp_path / "outbox.db", secured.url, apikey=key) as outbox:
        outbox.put(signal)
        trouble = eventually(lambda: outbox.health().trouble)
        assert wrong in trouble.info
        assert ADVICE in trouble.info
        assert outbox.health().waiting == 1
        assert secured.inside.sent == b""
        assert secured.has_heard(key) == []

        secured.renew()
        outbox.hurry()
        assert outbox.drain(DEADLINE_S) == 0
        eventually(lambda: outbox.health().trouble is None)
    assert secured.is_stored(signal)
    assert secured.has_heard(key) == ["the server"]


def test_what_waits_is_sent_once_ssl_cert_file_names_the_authority(
    secured: Secured, key: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal = packed()
    with monkeypatch.context() as without:
        without.delenv("SSL_CERT_FILE")
        with Outbox(tmp_path / "outbox.db", secured.url, apikey=key) as outbox:
            outbox.put(signal)
            assert ADVICE in eventually(lambda: outbox.health().trouble).info
    assert secured.has_heard(key) == []
    assert run("outbox", "flush", "--outbox", "outbox.db").out == "everything is sent\n"
    assert secured.is_stored(signal)


def test_the_commands_say_it_and_send_nothing(
    secured: Secured, key: str, wrong: str, run: Run, tmp_path: Path
) -> None:
    signal = packed()
    sending = ["send", "ItemPacked", "--order", signal.order, "--item", signal.item]
    told = run(*sending).failed(Exit.NOT_SENT)
    assert wrong in told
    assert ADVICE in told

    ran = run("doctor", "--json")
    assert ran.code == Exit.FAILED
    [server] = [each for each in json.loads(ran.out) if not each["ok"]]
    assert server["what"] == "server"
    assert wrong in server["info"]
    assert ADVICE in server["info"]

    with Outbox(tmp_path / "outbox.db") as outbox:
        outbox.put(signal)
    flushing = ["outbox", "flush", "--outbox", "outbox.db"]
    told = eventually(lambda: tried(run(*flushing, "--within", "0.5")))
    assert wrong in told
    assert ADVICE in told
    assert secured.inside.sent == b""
    assert secured.has_heard(key) == []

    secured.renew()
    assert run("doctor").code == 0
    assert run(*flushing).code == 0
    assert secured.is_stored(signal)
    assert run(*sending).code == 0


def tried(ran: Ran) -> str:
    """What a command that does not get through says, once it has tried."""
    assert ran.code == Exit.NOT_SENT, ran
    return "" if "not sent yet" in ran.err else ran.err
