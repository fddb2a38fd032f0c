"""An order owner who receives webhooks, on a port of this machine."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from tests.acceptance.conftest import eventually

FLAGS = ("--webhook-http", "--webhook-networks", "127.0.0.0/8")
"""What lets a server post to one."""
ALLOWED = {"CLOUDSIGNAL_WEBHOOK_HTTP": "true", "CLOUDSIGNAL_WEBHOOK_NETWORKS": "127.0.0.0/8"}
"""The same in the environment."""


class Received(NamedTuple):
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Owner:
    """Keeps what is posted, and answers with a status, headers and a body; they may be changed meanwhile."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.status = 200
        self.headers: dict[str, str] = {}
        self.answer = b"thank you"
        self.received: list[Received] = []

    def receives(self, count: int) -> list[Received]:
        """The first so many, once they have come."""
        eventually(lambda: len(self.received) >= count, f"no {count} webhooks come")
        return self.received[:count]


@contextmanager
def receiving() -> Iterator[Owner]:
    """An owner that receives."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            owner.received.append(Received(headers, body))
            answer = owner.answer or json.dumps(headers | {"path": self.path}).encode() + body
            self.send_response(owner.status)
            for name, value in owner.headers.items():
                self.send_header(name, value)
            if owner.status != 204:  # Which has neither a body nor its length.
                self.send_header("content-length", str(len(answer)))
            self.end_headers()
            if owner.status != 204:
                self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        owner = Owner(f"http://127.0.0.1:{server.server_port}/webhooks")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield owner
        finally:
            server.shutdown()
            thread.join()
