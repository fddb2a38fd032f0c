"""``cloudsignal send``: one signal from flags, made from the declarations of the signals, or many from a file."""

import inspect
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final

import typer
from msgspec import Struct

from cloudsignal.cli.flags import with_flags
from cloudsignal.cli.output import (
    Exit,
    Failed,
    Json,
    note,
    plain,
    print_json,
    print_json_line,
    progress_bars,
    telling_if_interrupted,
)
from cloudsignal.cli.profile import (
    Reach,
    client_of,
    failing,
    in_force,
    reaching,
)
from cloudsignal.protocol.signals import SIGNAL_TYPES, Field, Signal, fields

if TYPE_CHECKING:
    from cloudsignal.partner.client import Client
    from cloudsignal.partner.reading import FoundSignal
    from cloudsignal.partner.receipts import Receipt

send = typer.Typer(
    invoke_without_command=True, no_args_is_help=True, subcommand_metavar="[TYPE [FLAGS]...]"
)

PUT_AT_ONCE: Final = 1000

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only check, and print the JSON without the key.")
]


OutboxFile = Annotated[
    Path | None,
    typer.Option(
        "--outbox",
        metavar="FILE",
        help="Put into this outbox instead, and be done once it is on disk. Whoever sends from it does the rest.",
    ),
]


class Wish(Struct, frozen=True):
    """How to send, as the flags say it: before the type or behind it."""

    reach: Reach
    outbox: Path | None
    dry_run: bool
    json: bool

    def over(self, other: "Wish") -> "Wish":
        """This one, and where it says nothing the other."""
        return Wish(
            self.reach.over(other.reach),
            self.outbox or other.outbox,
            self.dry_run or other.dry_run,
            self.json or other.json,
        )

    def check(self) -> None:
        """Raises BadParameter when it makes no sense."""
        if self.outbox is not None and self.reach != Reach():
            raise typer.BadParameter(
                "with --outbox nothing is sent from here: say where the server is to what sends from it, such as"
                " cloudsignal outbox run"
            )


@send.callback()
@reaching
def send_signals(
    context: typer.Context,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            metavar="FILE",
            help="Send the signals of a file instead, - for standard input: JSON Lines of any length, or one JSON"
            " document with a signal, a list of them, or a bundle.",
        ),
    ] = None,
    skip_invalid: Annotated[
        bool,
        typer.Option("--skip-invalid", help="Send the others if some of the file are invalid."),
    ] = False,
    outbox: OutboxFile = None,
    dry_run: DryRun = False,
    json: Json = False,
    *,
    reach: Reach,
) -> None:
    """Send signals: one of a type with its flags, or those of a file. To send the same again is always safe."""
    wish = Wish(reach, outbox, dry_run, json)
    if context.invoked_subcommand is None:
        if file is None:
            raise typer.BadParameter("say which type to send, or which --file")
        _send_file(file, wish, skip_invalid=skip_invalid)
    elif file is not None:
        raise typer.BadParameter("send either a type or a --file, not both")
    else:
        context.obj = wish


# ---- one signal ----------------------------------------------------------------------------------


def _command_for(signal: type[Signal]) -> Callable[..., None]:
    """The command that sends a signal of this type, with a flag for each of its fields."""

    def command(
        context: typer.Context,
        values: dict[str, str | None],
        *,
        outbox: OutboxFile = None,
        dry_run: DryRun = False,
        json: Json = False,
        reach: Reach,
    ) -> None:
        wish = Wish(reach, outbox, dry_run, json)
        _send_one(_signal(signal, values), wish.over(context.obj))

    command.__doc__ = inspect.cleandoc(signal.__doc__ or "")
    return reaching(with_flags(command, "values", [_parameter(each) for each in fields(signal)]))


def _parameter(field: Field) -> inspect.Parameter:
    is_needed = field.required and field.name != "datetime"
    default = " Default: now." if field.name == "datetime" else ""
    option = typer.Option(
        f"--{field.name.replace('_', '-')}",
        metavar="TEXT",
        help=f"{field.description[0].upper()}{field.description[1:]}.{default}",
    )
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if is_needed else None,
        annotation=Annotated[str if is_needed else str | None, option],
    )


for _type in SIGNAL_TYPES:
    send.command(_type.__name__)(_command_for(_type))


def _signal(signal: type[Signal], values: dict[str, str | None]) -> Signal:
    from cloudsignal.partner.times import now

    given = {name: value for name, value in values.items() if value is not None}
    return signal(**({"datetime": now()} | given))


def _send_one(signal: Signal, wish: Wish) -> None:
    wish.check()
    with failing():
        if wish.dry_run:
            from cloudsignal.partner.posts import checked

            checked([signal])
            print_json(signal)
            return
        if wish.outbox is not None:
            _put([signal], wish.outbox, json=wish.json)
            return
        with client_of(in_force(wish.reach)) as client:
            print_receipt(client.send(signal), json=wish.json)


# ---- a file --------------------------------------------------------------------------------------


def _send_file(file: str, wish: Wish, *, skip_invalid: bool) -> None:
    wish.check()
    with failing(), _opened(file) as content:
        if wish.dry_run:
            count = _look_through(content, show=True)
            _refuse_invalid(count, skip=skip_invalid)
            return
        if wish.outbox is not None:
            count = _look_through(content)
            _refuse_invalid(count, skip=skip_invalid)
            signals = (each.signal for each in _valid(content, count) if each.signal is not None)
            _put(signals, wish.outbox, json=wish.json)
            return
        profile = in_force(wish.reach)
        with client_of(profile) as client:
            count = _look_through(content)
            _refuse_invalid(count, skip=skip_invalid)
            _send_all(content, client, count, wish, most=profile.bundle_max)


class Count(Struct):
    """How many of a file's signals are as they must be, and how many are not."""

    valid: int = 0
    invalid: int = 0


def _look_through(content: BinaryIO, *, show: bool = False) -> Count:
    """Check every signal, and list what is wrong; ``show`` prints those that are right."""
    from cloudsignal.partner.reading import signals_in

    count, has_apikey = Count(), False
    for found in signals_in(content):
        has_apikey = has_apikey or found.has_apikey
        if found.signal is None:
            count.invalid += 1
            _list(found.place, found.problems)
            continue
        count.valid += 1
        if show:
            print_json_line(found.signal)
    if has_apikey:
        note("the apikey in the file is not used: the one of the flags, environment or profile is")
    return count


def _list(place: str, problems: tuple[str, ...]) -> None:
    print(f"{place}: {plain('; '.join(problems))}", file=sys.stderr)


def _refuse_invalid(count: Count, *, skip: bool) -> None:
    if count.invalid and not skip:
        raise Failed(
            f"{count.invalid} of {count.valid + count.invalid} signals are invalid, and nothing was sent: correct"
            " them, or send the others with --skip-invalid",
            Exit.REFUSED,
        )


def _send_all(
    content: BinaryIO, client: "Client", count: Count, wish: Wish, *, most: int | None
) -> None:
    from cloudsignal.partner.receipts import Receipt
    from cloudsignal.partner.sifting import send_sifted
    from cloudsignal.protocol.wire import BUNDLE_MAX

    most = most or BUNDLE_MAX
    stored, refused, sent = Receipt(0, 0, 0), 0, 0

    def how_far() -> str:
        return (
            f"{stored.signals} of {count.valid} signals are known to be stored; what is stored is recognised, so send"
            " the same again"
        )

    with telling_if_interrupted(how_far), progress_bars() as progress:
        for sifted in send_sifted(client.send, _valid(content, count), most=most):
            for found, error in sifted.refused:
                _list(found.place, error.sentences)
            stored = stored + sifted.receipt
            refused += len(sifted.refused)
            sent += len(sifted.found)
            if count.valid > most:
                progress("signals sent", sent, count.valid)
    print_receipt(stored, json=wish.json)
    if refused:
        raise Failed(f"the server refused {refused} of {count.valid} signals", Exit.REFUSED)


def _valid(content: BinaryIO, count: Count) -> Iterator["FoundSignal"]:
    """The signals that were looked through, and not what was appended to the file since then."""
    from cloudsignal.partner.reading import signals_in

    content.seek(0)
    looked_through = islice(signals_in(content), count.valid + count.invalid)
    return (found for found in looked_through if found.signal is not None)


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    """A file that can be read twice: once to check it, once to send it. Raises Failed."""
    import tempfile

    with ExitStack() as stack:
        content = _standard_input() if file == "-" else stack.enter_context(_read(file))
        if not content.seekable() or file == "-":
            copy = stack.enter_context(tempfile.TemporaryFile())
            _copy(content, copy, "standard input" if file == "-" else file)
            content = copy
        yield content


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise Failed("there is no standard input: it is closed", Exit.SETUP)
    return sys.stdin.buffer


def _copy(content: BinaryIO, copy: BinaryIO, name: str) -> None:
    try:
        shutil.copyfileobj(content, copy)
        copy.seek(0)
    except OSError as error:
        raise Failed(f"{name} cannot be read or kept: {error.strerror}", Exit.SETUP) from None


def _read(file: str) -> BinaryIO:
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise Failed(f"{file} cannot be read: {error.strerror}", Exit.SETUP) from None


# ---- an outbox -----------------------------------------------------------------------------------


def _put(signals: Iterable[Signal], path: Path, *, json: bool) -> None:
    """Put signals into an outbox, from which others send, and say which ids they have there."""
    from cloudsignal.partner.outbox.outbox import Outbox

    count, first, last = 0, None, None
    waiting = iter(signals)

    def how_far() -> str:
        return f"{count} signals are put, and are sent; the server recognises them if you put the same again"

    with telling_if_interrupted(how_far), Outbox(path) as outbox:
        while some := tuple(islice(waiting, PUT_AT_ONCE)):
            ids = outbox.put(*some)
            count, first, last = count + len(ids), first or ids[0], ids[-1]
    if json:
        print_json({"signals": count, "first_id": first, "last_id": last})
    else:
        print(f"put: {count} signals" if count != 1 else f"put: 1 signal, id {last}")


# ---- shared --------------------------------------------------------------------------------------


def print_receipt(receipt: "Receipt", *, json: bool) -> None:
    """What is stored: a line for people, or the receipt for programs."""
    if json:
        print_json(receipt)
    else:
        print(f"stored: {_stored(receipt)}")


def _stored(receipt: "Receipt") -> str:
    signals, accepted, duplicates = receipt.signals, receipt.accepted, receipt.duplicates
    if accepted is None or not signals:
        return f"{signals} signals" if signals != 1 else "1 signal"
    if not accepted:
        return "known already" if signals == 1 else f"all {signals} known already"
    known = f", {duplicates} known already" if duplicates else ""
    return f"{accepted} new{known}, position {receipt.position}"
