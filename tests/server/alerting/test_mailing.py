"""Mails at a real mail server: taken, refused, encrypted, silent."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from cloudsignal.server.alerting.composing import Mail
from cloudsignal.server.alerting.mailing import MailServer, NotSent, mail_of
from cloudsignal.server.settings import Settings
from tests.mailbox import Mailbox
from tests.server.arrivals import NOON

TO = ["ops@example.com", "night@example.com"]
PASSWORD = "zqword"


def server_of(box: Mailbox, **values: Any) -> MailServer:
    given = {"tls": "none", "sender": "cloudsignal@example.com", "timeout_s": 5.0}
    return MailServer(host="localhost", port=box.port, **given | values)


def hand_in(server: MailServer, *to: str) -> str:
    written = Mail("Größe\r\nBcc: eve@example.com", "Löwen\n.\n..und Bären\n" + "x" * 2000)
    mail = mail_of(written, server.sender, to or TO, message="alert_1", made=NOON)
    return server.hand_in(mail, to or TO)


def says(begin: str, answer: str) -> Callable[[str], str | None]:
    """Answers commands that begin so in this way, and all others as usual."""
    return lambda command: answer if command.startswith(begin) else None


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """The mail server's side of TLS, with a certificate that is trusted here."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    return context


def test_a_mail_is_handed_in_for_everybody_at_once() -> None:
    with Mailbox() as box:
        assert hand_in(server_of(box)) == "it was taken"
    [received] = box.received
    assert (received.sender, received.recipients) == ("cloudsignal@example.com", TO)
    assert received.mail["subject"] == "Größe??Bcc: eve@example.com"
    assert received.mail["bcc"] is None
    assert received.text.splitlines() == ["Löwen", ".", "..und Bären", "x" * 2000]
    assert max(map(len, received.raw.splitlines())) < 100
    assert received.raw.isascii()


@pytest.mark.parametrize("way", ["starttls", "implicit"])
def test_it_is_encrypted_before_anybody_signs_in(tls: ssl.SSLContext, way: str) -> None:
    with Mailbox(tls=tls, implicit=way == "implicit", user="me", password=PASSWORD) as box:
        assert hand_in(server_of(box, tls=way, user="me", password=PASSWORD)) == "it was taken"
    [received] = box.received
    assert (received.user, received.is_encrypted) == ("me", True)


def test_whose_certificate_is_not_trusted_gets_no_password(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with Mailbox(tls=tls, user="me", password=PASSWORD) as box:
        with pytest.raises(NotSent, match="localhost does not speak TLS as it has to: unable to"):
            hand_in(server_of(box, tls="starttls", user="me", password=PASSWORD))
        assert "AUTH" not in box.commands
        assert box.received == []


def test_who_offers_no_encryption_gets_no_password() -> None:
    with Mailbox(user="me", password=PASSWORD) as box:
        with pytest.raises(NotSent, match="localhost offers no STARTTLS: look at smtp_tls"):
            hand_in(server_of(box, tls="starttls", user="me", password=PASSWORD))
        assert "AUTH" not in box.commands


def test_who_lets_nobody_sign_in_is_said(tls: ssl.SSLContext) -> None:
    with (
        Mailbox(tls=tls) as box,
        pytest.raises(NotSent, match="localhost offers no way to sign in: look at smtp_user"),
    ):
        hand_in(server_of(box, tls="starttls", user="me", password=PASSWORD))


def test_a_wrong_password_is_said_and_not_shown(tls: ssl.SSLContext) -> None:
    told = says("AUTH", f"535 what is {PASSWORD}?\x07")
    with Mailbox(tls=tls, user="me", password="other", answer=told) as box:
        server = server_of(box, tls="starttls", user="me", password=PASSWORD)
        with pytest.raises(NotSent) as caught:
            hand_in(server)
    assert str(caught.value) == (
        "localhost does not let me in: it answered 535: what is …??: look at smtp_user and smtp_password"
    )
    assert PASSWORD not in repr(server)


@pytest.mark.parametrize(
    ("command", "answer", "said"),
    [
        ("(greeting)", "554 not today", "localhost: it answered 554: not today"),
        ("MAIL", "452 too much", "localhost: it answered 452: too much"),
        ("RCPT", "550 who?", r"localhost takes no mail for ops@example.com \(550: who\?\), night"),
        ("DATA", "451 later", "localhost: it answered 451: later"),
        ("(mail)", "554 spam", "localhost: it answered 554: spam"),
        ("MAIL", "421 bye", "localhost: it answered 421: bye"),
    ],
)
def test_a_refusal_is_said_in_its_own_words(command: str, answer: str, said: str) -> None:
    with Mailbox(answer=says(command, answer)) as box, pytest.raises(NotSent, match=said):
        hand_in(server_of(box))


def test_who_is_refused_alone_is_said_and_the_others_get_it() -> None:
    with Mailbox(answer=says("RCPT TO:<ops", "550 who?")) as box:
        assert hand_in(server_of(box)) == "it was taken, but not for ops@example.com (550: who?)"
    assert box.received[0].recipients == ["night@example.com"]


def test_who_says_nothing_is_not_waited_for_any_longer() -> None:
    with (
        Mailbox(answer=says("DATA", "")) as box,
        pytest.raises(NotSent, match=r"localhost did not answer within 0\.2 s"),
    ):
        hand_in(server_of(box, timeout_s=0.2))


@pytest.mark.parametrize("goodbye", ["500 what?", ""])
def test_what_was_taken_is_taken_however_the_server_says_goodbye(goodbye: str) -> None:
    with Mailbox(answer=says("QUIT", goodbye)) as box:
        assert hand_in(server_of(box, timeout_s=0.5)) == "it was taken"
    assert len(box.received) == 1


def test_nobody_there_is_said() -> None:
    with Mailbox() as box:
        pass
    with pytest.raises(NotSent, match="localhost cannot be reached: Connection refused"):
        hand_in(server_of(box))


@pytest.mark.parametrize("host", ["mail..example", "x" * 64 + ".example"])
def test_a_host_that_is_no_name_is_said(host: str) -> None:
    server = MailServer(host=host, port=25, tls="none", sender="cloudsignal@example.com")
    with pytest.raises(NotSent, match="look at them"):
        hand_in(server)


def test_a_password_that_cannot_be_told_is_said_and_not_shown(tmp_path: Path) -> None:
    with Mailbox(user="me", password="pass") as box:
        server = server_of(box, tls="none", user="me", password="p\N{SNOWMAN}ss")
        with pytest.raises(NotSent, match="smtp_password") as caught:
            hand_in(server)
    assert "2603" not in str(caught.value)


def test_the_mail_server_is_as_it_is_set() -> None:
    assert MailServer.of(Settings()) is None
    settings = Settings(
        smtp_host="mail.example",
        smtp_port=465,
        smtp_tls="implicit",
        smtp_user="me",
        smtp_password=PASSWORD,
        smtp_sender="a@example.com",
    )
    assert MailServer.of(settings) == MailServer(
        host="mail.example",
        port=465,
        tls="implicit",
        user="me",
        password=PASSWORD,
        sender="a@example.com",
    )
