"""``cloudsignal listen``: shows what arrives."""

import sys
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from cloudsignal.cli.output import Json, note, plain, print_json_line
from cloudsignal.cli.profile import failing

if TYPE_CHECKING:
    from cloudsignal.partner.listener import Heard


def listen(
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")
    ] = 8080,
    answer: Annotated[
        int | None,
        typer.Option(
            metavar="STATUS", min=200, max=599, help="Answer everything with this status instead."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show what arrives here: signals that are posted as to a server, and webhooks at every other path.

    Signals are checked and answered as a server does, with any key. Nothing is kept.
    """
    with failing():
        from cloudsignal.partner.listener import Listener
        from cloudsignal.partner.serving import Serving
        from cloudsignal.protocol.http import ENDPOINT

        serving = Serving(
            Listener(print_json_line if json else _print, status=answer), host=host, port=port
        )
        told = f"listening on {serving.url}: signals at {ENDPOINT}, webhooks everywhere else"
        serving.run(lambda: note(told))


def _print(heard: "Heard") -> None:
    print(f"{heard.method} {plain(heard.path)} → {heard.status}")
    for name, value in heard.headers.items():
        print(f"  {name}: {plain(value)}")
    for body in heard.bodies:
        print(f"  {plain(msgspec.json.encode(body).decode())}")
    for problem in heard.problems:
        print(f"  {plain(problem)}")
    sys.stdout.flush()
