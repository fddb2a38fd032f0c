"""The command line: ``cloudsignal``."""

import sys
from collections.abc import Callable

import typer

from cloudsignal.cli import (
    access,
    alerts,
    calendars,
    deliveries,
    doctor,
    endpoints,
    importing,
    listen,
    look,
    outbox,
    owners,
    registering,
    relay,
    send,
    serve,
    simulate,
    store,
    users,
    watch,
)
from cloudsignal.cli.output import Exit, Failed, fail, guard_output

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
access.partner.add_typer(calendars.calendar, name="calendar")
app.add_typer(access.interface, name="interface")
app.add_typer(owners.owner, name="owner")
app.add_typer(users.user, name="user")
app.add_typer(endpoints.endpoint, name="endpoint")
endpoints.endpoint.add_typer(deliveries.deliveries)
app.add_typer(alerts.alert, name="alert")
app.add_typer(access.token, name="token")
app.command()(look.search)
app.add_typer(look.item, name="item")
app.add_typer(look.order, name="order")
look.order.command("register")(registering.register_orders)
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
    guard_output()
    code = _code_of(_call)
    # Whatever becomes of the output, what went wrong before counts.
    written = _code_of(_write_out)
    sys.exit(code or written)


def _call() -> None:
    for word in sys.argv[1:]:
        _check_encoding(word)
    app(prog_name="cloudsignal")


def _write_out() -> None:
    """Find out now whether all of the output can be written, and not when nothing can be said any more."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _code_of(step: Callable[[], None]) -> int:
    """How a step ended, as an exit code."""
    try:
        step()
    except Failed as error:
        return fail(error)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    except BrokenPipeError:
        return Exit.FAILED  # Who reads has seen enough, and need not be told.
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == __name__.partition(".")[0]:
            raise
        needed = f"{error.name} is missing: pip install 'cloudsignal[server]' brings it"
        return fail(Failed(needed))
    return Exit.DONE


def _check_encoding(word: str) -> None:
    try:
        word.encode()
    except UnicodeEncodeError:
        raise Failed(f"{word!a} is not valid UTF-8") from None
