"""``cloudsignal relay``: takes posts from software at the plant, and forwards them."""

from pathlib import Path
from typing import Annotated

import typer

from cloudsignal.cli.outbox import OutboxFile, logging_to_stderr, sending
from cloudsignal.cli.output import note
from cloudsignal.cli.profile import ApikeyFile, ProfileName, Reach, TimeoutS, failing, in_force


def run_relay(
    upstream: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where signals are forwarded to; else as `--base-url` of the other commands.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")
    ] = 8080,
    outbox: OutboxFile = None,
    apikey_file: ApikeyFile = None,
    local_apikey_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The key that posts to the relay bear; else the one of upstream."
        ),
    ] = None,
    profile: ProfileName = None,
    timeout: TimeoutS = None,
) -> None:
    """Take signals from any software here, answer once they are on disk, and forward them.

    Software that does not try again gains that by changing its URL. How it is doing is shown at the relay's
    address, and as JSON at /healthz.
    """
    reach = Reach(base_url=upstream, apikey_file=apikey_file, profile=profile, timeout_s=timeout)
    with logging_to_stderr(), failing():
        from cloudsignal.partner.address import address_of
        from cloudsignal.partner.errors import SetupError
        from cloudsignal.partner.keys import read_apikey
        from cloudsignal.partner.relay import Relay
        from cloudsignal.partner.serving import Serving

        chosen = in_force(reach)
        with sending(chosen, outbox) as sender:
            address = address_of(chosen.base_url or "")
            key = read_apikey(file=local_apikey_file or chosen.apikey_file)
            serving = Serving(Relay(sender, key, upstream=address.base), host=host, port=port)
            if serving.is_at(*address.host_and_port):
                serving.close()
                raise SetupError(
                    f"upstream is {address.base}, which is the relay itself: it would send to itself for ever;"
                    " say where the server is with --upstream"
                )
            told = f"listening on {serving.url}, forwarding to {address.base}"
            serving.run(lambda: note(told))
