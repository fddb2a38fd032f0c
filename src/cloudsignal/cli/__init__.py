"""The command line: ``cloudsignal``."""

import io
import sys

import typer

from cloudsignal.cli import (
    access,
    doctor,
    importing,
    listen,
    look,
    outbox,
    relay,
    send,
    serve,
    simulate,
    store,
    watch,
)
from cloudsignal.cli.output import Failed, fail

app = typer.Typer(
    name="cloudsignal",
    help="A self-hosted system around the CloudSignal API 2.0.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(send.send, name="send")
app.add_typer(outbox.outbox, name="outbox")
app.command("relay")(relay.run_relay)
app.command("doctor")(doctor.examine_setup)
app.command("listen")(listen.listen)
app.command("watch")(watch.watch_folder)
app.add_typer(access.partner, name="partner")
app.add_typer(access.interface, name="interface")
app.add_typer(access.token, name="token")
app.add_typer(look.item, name="item")
app.add_typer(look.order, name="order")
app.add_typer(look.signals, name="signals")
app.add_typer(store.store, name="store")
app.command("import")(importing.import_table)
app.command()(look.rebuild)
app.command()(serve.settings)
app.command()(serve.serve)
app.command()(simulate.simulate)


@app.command()
def version() -> None:
    """Print the version of this program."""
    from cloudsignal import __version__

    print(__version__)


def main() -> None:
    """Run the command line. What goes wrong is said in a sentence, and in the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What a terminal has no letters for is no reason to break off.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        for word in sys.argv[1:]:
            _check_encoding(word)
        app(prog_name="cloudsignal")
    except Failed as error:
        sys.exit(fail(error))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == __name__.partition(".")[0]:
            raise
        needed = f"{error.name} is missing: pip install 'cloudsignal[server]' brings it"
        sys.exit(fail(Failed(needed)))


def _check_encoding(word: str) -> None:
    try:
        word.encode()
    except UnicodeEncodeError:
        raise Failed(f"{word!a} is not valid UTF-8") from None
