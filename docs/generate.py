"""Writes docs/reference/ from the declarations in the code: `make docs`.

With ``--check`` nothing is written, and the exit code says whether anything is stale.
"""

import inspect
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import typer
from msgspec import Meta

from cloudsignal.cli import app
from cloudsignal.cli.output import Exit
from cloudsignal.cli.profile import PANEL
from cloudsignal.partner import profiles
from cloudsignal.protocol import items, refusals, retry, signals, webhooks
from cloudsignal.server import settings
from cloudsignal.server.delivery import dialing, lineup, pace, schedule, sending

FOLDER: Final = Path(__file__).parent / "reference"
NOTE: Final = "<!-- Made by `make docs` from {source}: change it there, not here. -->"


def documents() -> dict[str, str]:
    """Every generated page by its file name."""
    return {
        "signals.md": page("Signal types", "protocol/signals.py", signal_types()),
        "webhooks.md": page("Webhook types", "protocol/webhooks.py", webhook_types()),
        "schedule.md": page("Schedule of webhooks", "server/delivery/schedule.py", when_told()),
        "errors.md": page("Error types", "protocol/refusals.py", error_types()),
        "findings.md": page("Findings", "protocol/items.py", findings()),
        "settings.md": page("Settings", "server/settings.py", all_settings()),
        "cli.md": page("Commands", "cli/", commands()),
    }


def page(title: str, source: str, blocks: Iterable[str]) -> str:
    """One page: its title, where it comes from, and its blocks."""
    return "\n\n".join([f"# {title}", NOTE.format(source=source), *blocks]) + "\n"


# ---- signal types --------------------------------------------------------------------------------


def signal_types() -> Iterator[str]:
    """Every type with its fields and an example, then the cancellation causes."""
    yield (
        "What a print partner can report about an item. Every type has the common fields; the"
        " rules of sending are in [the contract](../contract.md#3-the-signals)."
    )
    yield "## Common fields"
    yield fields(signals.fields(signals.Signal))
    for signal in signals.SIGNAL_TYPES:
        yield f"## {signal.__name__}"
        yield inspect.cleandoc(signal.__doc__ or "")
        yield f"Effect on the item: `{signal.effect}`."
        own = signals.fields(signal)[len(signals.fields(signals.Signal)) :]
        yield fields(own) if own else "No fields beyond the common ones."
        yield f"```json\n{json.dumps(signals.example(signal), indent=2)}\n```"
    yield "## Types that are gone"
    yield table(
        ["type", "what to do"],
        [[code(name), text] for name, text in signals.REMOVED_TYPES.items()],
    )
    yield "## Cancellation causes"
    yield (
        "The published codes for `cause` of ItemCanceled. Another text is accepted too, and marked"
        " with the finding `unlisted_cause`, unless the setting `strict_causes` refuses it."
    )
    yield table(
        ["cause", "meaning"],
        [[code(name), text] for name, text in signals.CANCELLATION_CAUSES.items()],
    )


def fields(known: Sequence[signals.Field]) -> str:
    """A table of fields."""
    return table(
        ["field", "", "what it says", "must be", "else", "example"],
        [
            [
                code(field.name),
                "required" if field.required else "optional",
                field.description,
                field.rule + (" (an empty one is missing)" if field.empty_is_missing else ""),
                code(field.error),
                code(field.example),
            ]
            for field in known
        ],
    )


# ---- webhook types -------------------------------------------------------------------------------


def webhook_types() -> Iterator[str]:
    """Every type with its own fields, and which signal it is made of."""
    yield (
        "What an order's owner can be told, as [Order owners](../order-owners.md) says. All values are strings."
        " The first ones are common to all; those about an item have `item` and `item_reference` too."
    )
    common = ", ".join(f"`{name}`" for name in webhooks.Webhook.__struct_fields__)
    yield f"Common fields: `type`, {common}."
    for webhook in webhooks.WEBHOOK_TYPES:
        yield f"## {webhook.__name__}"
        yield inspect.cleandoc(webhook.__doc__ or "")
        sources = [
            f"[{signal.__name__}](signals.md#{signal.__name__.lower()})"
            for signal, made in webhooks.WEBHOOK_OF.items()
            if made is webhook
        ]
        if sources:
            yield f"Made of {' and '.join(sources)}."
        own = webhook.__struct_fields__[len(webhooks.ItemWebhook.__struct_fields__) :]
        if own and issubclass(webhook, webhooks.ItemWebhook):
            names = [f"`{name}`" + (" (2.1 only)" if name == "url" else "") for name in own]
            yield f"Own fields: {', '.join(names)}."


def when_told() -> Iterator[str]:
    """When a webhook that failed is tried again, and how many there are at once."""
    part = f"{schedule.JITTER:.0%}".replace("%", " %")
    yield (
        "When a webhook that was not taken is tried again, as [Webhooks](../webhooks.md#when-it-fails) says. A wait"
        f" may be up to {part} shorter than it stands here, so that what failed together does not come back"
        f" together. After {schedule.ATTEMPTS_MAX} attempts, or {span(schedule.GIVE_UP_AFTER_S)} after the first"
        " one began, it is given up."
    )
    waits = schedule.FIRST_WAITS_S
    steady = f"{len(waits) + 1} to {schedule.ATTEMPTS_MAX - 1}"
    yield table(
        ["after attempt", "waits", "waits in all"],
        [
            *(
                [str(each), span(wait), span(sum(waits[:each]))]
                for each, wait in enumerate(waits, start=1)
            ),
            [steady, span(schedule.STEADY_WAIT_S), span(schedule.GIVE_UP_AFTER_S)],
        ],
    )
    yield "## An endpoint that fails"
    warned = ", ".join(map(str, pace.WARNED_AT))
    yield (
        f"After {pace.RESTS_AFTER} failures, one after the other, it is tried with one webhook at a time, and rests in"
        " between as long as the table says: after the last of these as after attempt 1, and so on. Failures"
        " of attempts that were under way at the same time count as one. After"
        f" {pace.DISABLED_AFTER} of them it is disabled; the log warns at {warned}."
    )
    yield "## Limits"
    yield table(
        ["what", "at most"],
        [
            ["how long one attempt may take", span(schedule.ATTEMPT_S_MAX)],
            ["how long an endpoint can ask to wait", span(schedule.RETRY_AFTER_MAX_S)],
            ["attempts at an endpoint at the same time", str(pace.AT_ONCE_MAX)],
            ["attempts in all at the same time, for each server", str(sending.AT_ONCE_MAX)],
            ["deliveries of an endpoint that wait for another attempt", f"{lineup.NOTED_MAX:,}"],
            ["bytes of an answer that are kept", f"{dialing.ANSWER_BYTES_MAX:,}"],
        ],
    )
    yield "Of what exceeds the limit on deliveries that wait, nothing is lost: it stays in the log of signals until then."


def span(seconds: float) -> str:
    """A span of time in words."""
    left, parts = round(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts)


# ---- error types and findings --------------------------------------------------------------------


def error_types() -> Iterator[str]:
    """Every error type with its status, what to do, and whether a retry can help."""
    yield (
        "The `type` in the body of every answer but 200, for programs. What each one means is told"
        " in [the contract](../contract.md#every-error-type)."
    )
    yield table(
        ["type", "status", "send the same post again?", "what to do"],
        [
            [
                code(name),
                str(each.status),
                "yes, later" if retry.is_worth_retrying(each.status) else "no",
                each.advice,
            ]
            for name, each in refusals.ERROR_TYPES.items()
        ],
    )


def findings() -> Iterator[str]:
    """Every finding and what it depends on."""
    yield (
        "Something odd about a signal, told to people who look at the item. A finding never changes"
        " an answer or a state."
    )
    yield table(
        ["finding", "what it says", "depends on"],
        [
            [
                code(name),
                text,
                "when the signal arrived"
                if name in items.ARRIVAL_FINDINGS
                else "what the signals say",
            ]
            for name, text in items.FINDINGS.items()
        ],
    )


# ---- settings ------------------------------------------------------------------------------------


def all_settings() -> Iterator[str]:
    """Every setting with its flag, variable, default and bounds."""
    yield (
        "Each setting is a flag of `cloudsignal serve`, an environment variable, and a line of a"
        " TOML file (`--config FILE`, or the variable `CLOUDSIGNAL_CONFIG`). A flag counts before"
        " the variable, the variable before the file, the file before the default. An unknown name"
        " is refused at the start. `cloudsignal settings` prints what is in force."
    )
    declared = settings.declared()
    yield table(
        ["setting", "what it says", "value", "default"],
        [[code(each.name), each.description, kind(each), default(each)] for each in declared],
    )
    yield "## Spellings"
    yield (
        "A list is written with commas in a flag or a variable, as an array in the file. A secret"
        " has no flag, because every user of the machine can read those; it can be read from a file"
        " that the variable with `_FILE` names."
    )
    yield table(
        ["setting", "flag", "variable"],
        [
            [
                code(each.name),
                "" if each.secret else flag(each),
                code(each.variable) + (f", {code(each.variable + '_FILE')}" if each.secret else ""),
            ]
            for each in declared
        ],
    )


def flag(setting: settings.Setting) -> str:
    """The flag of a setting; one that is switched on has a twin that switches it off."""
    if isinstance(setting.default, bool):
        return f"{code(setting.flag)}, {code('--no-' + setting.flag[2:])}"
    return code(setting.flag)


def kind(setting: settings.Setting) -> str:
    """What values a setting takes, read from its annotation."""
    hint, *metas = get_args(setting.type)
    if get_origin(hint) is Literal:
        return ", ".join(code(choice) for choice in get_args(hint))
    name = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return " ".join([name.get(hint, "a list"), *bounds(metas)])


def bounds(metas: Sequence[Meta]) -> Iterator[str]:
    """The bounds of a number in words."""
    for meta in metas:
        for bound, words in (("gt", "above"), ("ge", "from"), ("le", "up to")):
            if (limit := getattr(meta, bound)) is not None:
                yield f"{words} {limit}"


def default(setting: settings.Setting) -> str:
    """The default as the TOML file would have it."""
    if setting.secret:
        return "see there"
    return code(json.dumps(setting.default))


# ---- commands ------------------------------------------------------------------------------------


def commands() -> Iterator[str]:
    """Every command with its arguments and flags."""
    yield (
        "What goes wrong is said in one sentence on standard error, and in the exit code. `--json` prints"
        " one JSON document on standard output. Every command works while the server runs or not, but"
        " those that send to it."
    )
    yield table(["exit code", "what it says"], [[code(str(each)), each.meaning] for each in Exit])
    yield "Flags that many commands have:"
    yield table(["flag", "what it does"], COMMON_FLAGS.values())
    every = list(walk("cloudsignal", typer.main.get_command(app)))
    yield "Flags of those that send, which say where to, and how:"
    to_server = {names(each): meaning(each) for _, c in every for each in c.params if sends(each)}
    yield table(["flag", "what it does"], [list(row) for row in to_server.items()])
    for path, command in every:
        yield f"## {path}"
        yield " ".join((command.help or "").split())
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        options = [each for each in command.params if each.param_type_name == "option"]
        words = [argument(each) for each in arguments]
        yield f"```text\n{' '.join([path, *words, '[FLAGS]' if options else '']).strip()}\n```"
        rows = [
            [names(each), meaning(each)]
            for each in options
            if not is_setting(each) and not sends(each)
        ]
        own = [row for row in rows if row not in COMMON_FLAGS.values()]
        if own:
            yield table(["flag", "what it does"], own)
        if common := [name for name, row in COMMON_FLAGS.items() if row in rows]:
            yield f"{'Also' if own else 'Flags:'} {', '.join(map(code, common))}."
        if any(map(is_setting, options)):
            yield "And a flag for each of [the settings](settings.md)."
        if any(map(sends, options)):
            yield "And the flags of those that send."
    yield "## Profiles"
    yield (
        "A print partner writes down how to reach a server in the file `profiles.toml`, in the folder for the"
        " settings of programs that each system has for its users, or where the variable"
        f" `{profiles.PROFILES}` says. It is TOML with a table for each profile; `[{profiles.DEFAULT}]` is the"
        f" one that counts if neither `--profile` nor `{profiles.PROFILE}` names another. A flag counts"
        " before a profile that is named, that before the environment, and that before `[default]`. A path is that beside the file."
    )
    yield table(
        ["key", "what it says"],
        [[code(name), text] for name, text in profiles.describe().items()],
    )


COMMON_FLAGS: Final = {
    "--json": ["`--json`", "Print JSON, for programs."],
    "--database": ["`--database` URL", "Where the store is; else CLOUDSIGNAL_DATABASE."],
    "--config": ["`--config` FILE", "A TOML file with settings; else CLOUDSIGNAL_CONFIG."],
}
"""Flags told once. A command whose own differs from these has it told with the command."""


def is_setting(param: Any) -> bool:
    """Whether a flag is one of the server's settings."""
    return getattr(param, "rich_help_panel", None) == "Settings"


def sends(param: Any) -> bool:
    """Whether a flag says how to reach the server that is sent to."""
    return getattr(param, "rich_help_panel", None) == PANEL


def walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with the words that call it."""
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    if command.invoke_without_command:
        yield path, command
    for name, child in children.items():
        yield from walk(f"{path} {name}", child)


def argument(param: Any) -> str:
    """An argument in capitals."""
    return str(param.metavar or param.name).upper()


def names(param: Any) -> str:
    """The spellings of a flag, with what it takes."""
    spellings = ", ".join(code(name) for name in [*param.opts, *param.secondary_opts])
    takes = "" if param.is_flag else f" {takes_of(param)}"
    return spellings + takes


def takes_of(param: Any) -> str:
    """What a flag takes, in capitals or as its choices."""
    hint = param.type_descriptor.annotation
    if get_origin(hint) is Literal:
        return "\\|".join(get_args(hint))
    return str(param.metavar or "N")


def meaning(param: Any) -> str:
    """The help of a flag, with its default if it has one."""
    text = param.help or ""
    if param.required:
        return f"{text} Required."
    if param.default in (None, False) or not isinstance(param.default, str | int | float):
        return text
    return f"{text} Default: {code(str(param.default))}."


# ---- Markdown ------------------------------------------------------------------------------------


def code(text: str) -> str:
    """Text set as code."""
    return f"`{text}`"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    """Write what has changed, or with ``--check`` say what would be; the exit code."""
    check = "--check" in sys.argv[1:]
    FOLDER.mkdir(exist_ok=True)
    stale = [
        name
        for name, text in documents().items()
        if not (FOLDER / name).exists() or (FOLDER / name).read_text(encoding="utf-8") != text
    ]
    for name in stale:
        print(f"{'stale' if check else 'written'}: docs/reference/{name}")
        if not check:
            (FOLDER / name).write_text(documents()[name], encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
