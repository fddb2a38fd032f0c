"""A real mail server, for tests: small, on a socket, with a thread for each connection."""

import base64
import email
import email.policy
import socketserver
import ssl
import threading
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any, NamedTuple, Self


class Received(NamedTuple):
    """One mail that came in: who it is from and for, and what it says."""

    sender: str
    recipients: list[str]
    raw: bytes
    user: str
    is_encrypted: bool

    @property
    def mail(self) -> EmailMessage:
        found = email.message_from_bytes(self.raw, policy=email.policy.default)
        assert isinstance(found, EmailMessage)
        return found

    @property
    def text(self) -> str:
        return text_of(self.mail)


def text_of(mail: EmailMessage) -> str:
    """What a mail says, with lines that end as they do here."""
    return str(mail.get_content()).replace("\r\n", "\n")


class Mailbox:
    """Takes mails on a free port of 127.0.0.1 until the end of the ``with``.

    ``answer`` may say otherwise for a command, such as ``550 no`` for ``RCPT TO:<a@b>``; "" for nothing at all.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        implicit: bool = False,
        user: str = "",
        password: str = "",
        answer: Callable[[str], str | None] = lambda command: None,
    ) -> None:
        self.tls, self.implicit = tls, implicit
        self.user, self.password = user, password
        self.answer = answer
        self.received: list[Received] = []
        self.commands: list[str] = []
        self.over = threading.Event()

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), _Talk)
        self._server.mailbox = self
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    mailbox: Mailbox

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who hangs up in the middle is no failure."""


class _Talk(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        box = self.server.mailbox
        self.box, self.user, self.is_encrypted = box, "", box.implicit
        if box.implicit:
            self._encrypt()
        self.file = self.request.makefile("rb")
        self.sender, self.recipients = "", list[str]()
        if self._say("(greeting)", "220 mailbox"):
            while line := self.file.readline():
                if not self._hear(line.decode().strip()):
                    return

    def finish(self) -> None:
        # Encrypted, it is another socket than the one that the server closes.
        self.request.close()

    def _encrypt(self) -> None:
        assert self.box.tls is not None
        self.request = self.box.tls.wrap_socket(self.request, server_side=True)
        self.is_encrypted = True

    def _say(self, command: str, usual: str) -> bool:
        """Answer a command; false where the line is to be cut."""
        self.box.commands.append(command)
        answer = self.box.answer(command)
        answer = usual if answer is None else answer
        if not answer:
            self.box.over.wait(30)
            return False
        self.request.sendall(f"{answer}\r\n".encode())
        return not answer.startswith("421")

    def _hear(self, line: str) -> bool:
        # Commands are the same in small letters; here they are told apart in capitals.
        begin = line.split(" ")[0]
        word = begin.upper()
        line = word + line[len(begin) :]
        if word == "EHLO":
            offers = ["mailbox"]
            offers += ["STARTTLS"] if self.box.tls and not self.is_encrypted else []
            offers += ["AUTH PLAIN"] if self.box.user else []
            marks = ["-"] * (len(offers) - 1) + [" "]
            return self._say(
                line, "\r\n".join(f"250{m}{o}" for m, o in zip(marks, offers, strict=True))
            )
        if word == "STARTTLS":
            if not self._say(line, "220 go ahead"):
                return False
            self._encrypt()
            self.file = self.request.makefile("rb")
            return True
        if word == "AUTH":
            given = base64.b64decode(line.split(" ")[2]).decode().split("\0")[1:]
            self.user = given[0]
            is_right = given == [self.box.user, self.box.password]
            return self._say("AUTH", "235 welcome" if is_right else "535 5.7.8 not known here")
        if word == "MAIL":
            self.sender, self.recipients = line[len("MAIL FROM:<") : line.index(">")], []
            return self._say(line, "250 ok")
        if word == "RCPT":
            to = line[len("RCPT TO:<") : line.index(">")]
            said = self.box.answer(line)
            if said is None:
                self.recipients.append(to)
            return self._say(line, "250 ok")
        if word == "DATA":
            return self._say(line, "354 go ahead") and self._take()
        if word == "QUIT":
            self._say(line, "221 bye")
            return False
        return self._say(line, "250 ok")

    def _take(self) -> bool:
        lines: list[bytes] = []
        while (line := self.file.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        self.box.received.append(
            Received(self.sender, self.recipients, b"".join(lines), self.user, self.is_encrypted)
        )
        return self._say("(mail)", "250 taken")
