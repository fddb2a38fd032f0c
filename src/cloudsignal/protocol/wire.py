"""Bytes to posts and back: what a print partner sends, and what it is answered.

Two steps, because a stranger may learn nothing but that its JSON is broken or its key unknown:
``decode`` opens the envelope, ``validate`` looks at the signals once the key is known.
"""

import re
from datetime import tzinfo
from difflib import get_close_matches
from functools import cache
from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from cloudsignal.protocol import datetimes
from cloudsignal.protocol.refusals import DETAILS_MAX, Problem, Refusal, refuse
from cloudsignal.protocol.signals import (
    BY_NAME,
    CANCELLATION_CAUSES,
    REMOVED_TYPES,
    AnySignal,
    Field,
    ItemCanceled,
    Signal,
    fields,
)

NESTING_MAX: Final = 32
"""How deep arrays and objects may be nested in a body."""
BUNDLE_MAX: Final = 1000
"""How many signals a bundle may hold, unless a setting says otherwise."""
EMPTY: Final = "empty_bundle"
"""The error of a bundle that holds no signal."""
CHECK: Final = "check"
"""A member of a post that only asks whether its key is good (contract, section 4): its bundle is empty."""
ECHO_MAX: Final = 64
"""How many characters of what was sent are repeated in an error's sentence."""

Members = dict[str, Raw]

_object: Final = msgspec.json.Decoder(Members)
_objects: Final = msgspec.json.Decoder(list[Members])
_array: Final = msgspec.json.Decoder(list[Raw])
_text: Final = msgspec.json.Decoder(str)
_unread: Final = msgspec.json.Decoder(Raw)
_signal: Final = msgspec.json.Decoder(AnySignal)
_encode: Final = msgspec.json.Encoder().encode

_BOM: Final = b"\xef\xbb\xbf"
_GZIP: Final = b"\x1f\x8b"
_NULL: Final = b"null"
_BUNDLES: Final = '; send several signals as a bundle, {"apikey": …, "items": […]}'
_KEYS: Final = re.compile(r"[0-9a-fA-F]{32,}")
_ESCAPE: Final = re.compile(rb"\\.", re.DOTALL)
_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"{}[]"))


class Post(Struct, frozen=True):
    """One request body, opened: whose key it bears and what else it holds, still unread."""

    apikey: str
    members: Members

    def __repr__(self) -> str:
        return "Post(…)"  # Some traces show variables, and none must show the key.


class Report(Struct, frozen=True, array_like=True):
    """One valid signal of a post.

    ``datetime`` is the instant in microseconds that the signal's text means, ``body`` the JSON
    object as it was sent, less every ``apikey`` in it, ``fingerprint`` a digest of the fields
    beyond the common ones (empty without any): two reports of one interface are the same signal
    when type, order, item, datetime and fingerprint are.
    """

    signal: AnySignal
    datetime: int
    body: bytes
    fingerprint: str


class Receipt(Struct, frozen=True):
    """The body of a 200: how many signals were stored, how many known, and how far the log is."""

    accepted: int
    duplicates: int
    position: int


def decode(body: bytes) -> Post:
    """Open the envelope of a request body.

    Raises Refusal (``invalid_json``, ``not_an_object``, ``missing_parameter``).
    """
    members = open_object(body, _BUNDLES)
    try:
        apikey = _text.decode(members.pop("apikey"))
    except (KeyError, msgspec.ValidationError):
        raise refuse(
            "missing_parameter",
            "apikey is missing: put the key of your CloudSignal API interface there, as a string",
            at="apikey",
        ) from None
    return Post(apikey, members)


def validate(
    post: Post, *, zone: tzinfo, strict_causes: bool = False, bundle_max: int = BUNDLE_MAX
) -> list[Report]:
    """The signals of a post, in its order.

    Raises Refusal with every problem of every signal when any of them is not as it must be.
    """
    items = _given(post.members, "items")
    if items is None:
        try:
            return [_report(post.members, zone, strict_causes)]
        except ValueError:
            raise Refusal(_problems(post.members, zone, strict_causes)) from None
    if _given(post.members, "type") is not None:
        raise refuse(
            "ambiguous_post",
            "send either one signal with a type, or a bundle with items, not both",
            at="items",
        )
    try:
        bundle = _objects.decode(items)
        _check_size(len(bundle), bundle_max)
        return [_report(members, zone, strict_causes) for members in bundle]
    except ValueError:
        raise _bundle_refusal(items, zone, strict_causes, bundle_max) from None


def encode(apikey: str, *signals: Signal) -> bytes:
    """The request body for one signal, or the bundle for several."""
    if len(signals) == 1:
        return _encode({"apikey": apikey, **msgspec.to_builtins(signals[0])})
    return _encode({"apikey": apikey, "items": signals})


def open_object(body: bytes, advice: str = "") -> Members:
    """The members of the one JSON object that a body is, still unread.

    Raises Refusal (``invalid_json``, ``not_an_object``); the ``advice`` is for those who sent something else.
    """
    body = body.removeprefix(_BOM)
    try:
        body.isascii() or body.decode()
        members = _object.decode(body)
        # A bracket opens one level at most, so a body with few of them needs no closer look.
        if body.count(b"{") + body.count(b"[") > NESTING_MAX:
            _check_nesting(body)
    except UnicodeDecodeError as error:
        if body.startswith(_GZIP):
            raise refuse(
                "invalid_json", "the body is compressed with gzip: send it uncompressed"
            ) from None
        raise refuse(
            "invalid_json",
            f"the body is not UTF-8: byte {error.start} (0x{body[error.start]:02x}) does not belong"
            " there; encode the text as UTF-8, not as Latin-1 or Windows-1252",
        ) from None
    except ValueError:
        raise _no_object(body, advice) from None
    except RecursionError:
        raise _too_deep() from None
    return members


def _no_object(body: bytes, advice: str) -> Refusal:
    """Why this body is no JSON object: no JSON at all, or JSON of another kind."""
    try:
        value = _unread.decode(body)
        _check_nesting(body)
    except msgspec.DecodeError as error:
        if not body.strip():
            return refuse("invalid_json", "the body is empty: send one JSON object")
        fault = str(error).removeprefix("JSON is malformed: ")
        fault = fault.replace("Input data was truncated", "it ends in the middle of a value")
        return refuse("invalid_json", f"the body is not JSON: {fault}")
    except RecursionError:
        return _too_deep()
    return refuse(
        "not_an_object",
        f"the body must be one JSON object, not {_kind(value)}{advice}",
    )


def _check_nesting(body: bytes) -> None:
    """Refuse what is nested too deep, at the speed of C: no loop over the characters."""
    outside_strings = b"".join(_ESCAPE.sub(b"", body).split(b'"')[::2])
    brackets = outside_strings.translate(_SQUARE, _NO_BRACKETS)
    for _ in range(NESTING_MAX):
        brackets = brackets.replace(b"[]", b"")
    if brackets:
        raise _too_deep()


def _too_deep() -> Refusal:
    return refuse("invalid_json", f"the body is nested more than {NESTING_MAX} levels deep")


def _check_size(count: int, bundle_max: int) -> None:
    if not count:
        raise refuse(EMPTY, "items is empty: a bundle holds at least one signal", at="items")
    if count > bundle_max:
        raise refuse(
            "bundle_too_large",
            f"items holds {count} signals, at most {bundle_max} are taken at once: split it",
            at="items",
        )


def _report(members: Members, zone: tzinfo, strict_causes: bool) -> Report:
    """The one signal of these members; ValueError when anything is wrong with it."""
    members.pop("apikey", None)
    body = _encode(members)
    if b"apikey" in body or b"\\u" in body:
        body = _encode({name: without_keys(value) for name, value in members.items()})
    signal = _signal.decode(body)
    if strict_causes and not _listed(signal):
        raise ValueError("unlisted_cause")
    return Report(signal, datetimes.parse(signal.datetime, zone), body, fingerprint(signal))


def without_keys(value: Raw) -> Raw:
    """A JSON value as it was sent, less every member called apikey, however deep."""
    match bytes(value)[:1]:
        case b"{":
            members = _object.decode(value)
            members.pop("apikey", None)
            return Raw(_encode({name: without_keys(raw) for name, raw in members.items()}))
        case b"[":
            return Raw(_encode([without_keys(raw) for raw in _array.decode(value)]))
        case _:
            return value


def reread(body: bytes, datetime: int, fingerprint: str) -> Report:
    """The report that was stored with this body, instant and fingerprint."""
    return Report(_signal.decode(body), datetime, body, fingerprint)


def fingerprint(signal: Signal) -> str:
    """A digest of a signal's fields beyond the common ones, empty when it has none.

    An optional field that is an empty string says as little as one that is not there.
    """
    values = [getattr(signal, name) or None for name in _own_fields(type(signal))]
    if not any(values):
        return ""
    return blake2b(_encode(values), digest_size=16).hexdigest()


@cache
def _own_fields(signal: type[Signal]) -> tuple[str, ...]:
    return signal.__struct_fields__[len(Signal.__struct_fields__) :]


def _listed(signal: Signal) -> bool:
    return (
        not isinstance(signal, ItemCanceled)
        or not signal.cause
        or signal.cause in CANCELLATION_CAUSES
    )


# ---- what is wrong with a signal: only walked when something is ----------------------------------


def _bundle_refusal(items: Raw, zone: tzinfo, strict_causes: bool, bundle_max: int) -> Refusal:
    try:
        bundle = _array.decode(items)
    except msgspec.ValidationError:
        return refuse("invalid_parameter", "items must be an array of signals", at="items")
    _check_size(len(bundle), bundle_max)
    problems: list[Problem] = []
    for index, raw in enumerate(bundle):
        problems += _member_problems(f"items[{index}]", raw, zone, strict_causes)
        if len(problems) >= DETAILS_MAX:
            break
    return Refusal(problems)


def _member_problems(place: str, member: Raw, zone: tzinfo, strict_causes: bool) -> list[Problem]:
    try:
        members = _object.decode(member)
    except msgspec.ValidationError:
        info = f"{place}: every member of items must be a signal, an object, not {_kind(member)}"
        return [Problem(place, "not_an_object", info)]
    return [
        Problem(f"{place}.{problem.at}", problem.type, f"{place}: {problem.info}")
        for problem in _problems(members, zone, strict_causes)
    ]


def _problems(members: Members, zone: tzinfo, strict_causes: bool) -> list[Problem]:
    signal = _type_of(members)
    if isinstance(signal, Problem):
        common = (_problem(Signal, field, members, zone) for field in _fields(Signal))
        return [signal, *(problem for problem in common if problem)]
    checked = (_problem(signal, field, members, zone) for field in _fields(signal))
    problems = [problem for problem in checked if problem]
    if strict_causes and signal is ItemCanceled and all(p.at != "cause" for p in problems):
        problems += _cause_problems(members)
    return problems


_fields = cache(fields)
_TYPES: Final = ", ".join(BY_NAME)
_NO_TYPE: Final = f"type is missing: say which signal it is, one of {_TYPES}"


def _type_of(members: Members) -> type[Signal] | Problem:
    raw = _given(members, "type")
    if raw is None:
        return Problem("type", "missing_parameter", _NO_TYPE)
    name = _string(raw)
    if name is None:
        return Problem("type", "invalid_parameter", f"type must be a string, not {_kind(raw)}")
    if name in REMOVED_TYPES:
        return Problem("type", "type_removed", REMOVED_TYPES[name])
    if name not in BY_NAME:
        advice = _closest(name, BY_NAME) or f"the types are {_TYPES}"
        return Problem("type", "unknown_type", f"there is no type {echo(name)}: {advice}")
    return BY_NAME[name]


def _problem(signal: type[Signal], field: Field, members: Members, zone: tzinfo) -> Problem | None:
    raw = _given(members, field.name)
    if raw is None or (field.empty_is_missing and bytes(raw) == b'""'):
        if not field.required:
            return None
        who = "every signal" if signal is Signal else signal.__name__
        info = f"{who} needs {field.name}: {field.description}"
        return Problem(field.name, "missing_parameter", info)
    value = _string(raw)
    if value is None:
        kind = _kind(raw)
        quote = ": put it in quotes" if kind == "a number" else ""
        return Problem(field.name, field.error, f"{field.name} must be a string, not {kind}{quote}")
    try:
        msgspec.convert(value, field.type)
        if field.name == "datetime":
            datetimes.parse(value, zone)
    except msgspec.ValidationError:
        info = f"{field.name} must be {field.rule}, not {echo(value)}"
        return Problem(field.name, field.error, info)
    except ValueError as error:
        return Problem(field.name, field.error, f"datetime {echo(value)} cannot be read: {error}")
    return None


def _cause_problems(members: Members) -> list[Problem]:
    raw = _given(members, "cause")
    cause = _string(raw) if raw is not None else None
    if not cause or cause in CANCELLATION_CAUSES:
        return []
    advice = _closest(cause, CANCELLATION_CAUSES) or "CancelMiscError is for everything else"
    info = f"{echo(cause)} is no published cancellation cause: {advice}"
    return [Problem("cause", "unlisted_cause", info)]


def _closest(name: str, known: dict[str, Any]) -> str:
    lower = {candidate.lower(): candidate for candidate in known}
    found = get_close_matches(name[:ECHO_MAX].lower(), lower, n=1)
    return f"did you mean {lower[found[0]]}?" if found else ""


def _given(members: Members, name: str) -> Raw | None:
    """The member of that name; JSON null counts as missing."""
    raw = members.get(name)
    return None if raw is None or bytes(raw) == _NULL else raw


def _string(raw: Raw) -> str | None:
    """The text of a JSON string; None for a value of another kind."""
    return _text.decode(raw) if bytes(raw).startswith(b'"') else None


def echo(text: str) -> str:
    """What was sent, quoted and cut short, less what looks like a key put in the wrong place."""
    shown = hide_keys(text)
    if len(shown) > ECHO_MAX:
        return f"{_quoted(shown[:ECHO_MAX] + '…')} ({len(text)} characters)"
    return _quoted(shown)


def hide_keys(text: str) -> str:
    """A text less everything in it that looks like a key, in small letters or capitals."""
    return _KEYS.sub("…", text)


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


def _kind(raw: Raw) -> str:
    match bytes(raw)[:1]:
        case b"{":
            return "an object"
        case b"[":
            return "an array"
        case b'"':
            return "a string"
        case b"t" | b"f":
            return "true or false"
        case b"n":
            return "null"
        case _:
            return "a number"
