"""Signals in files of JSON: one signal, a list, a bundle, or JSON Lines, which may be of any length."""

from collections.abc import Iterator
from typing import BinaryIO, Final

import msgspec
from msgspec import Raw, Struct

from cloudsignal.partner.errors import InvalidSignals
from cloudsignal.partner.posts import signal_of
from cloudsignal.protocol.signals import Signal

DOCUMENT_BYTES_MAX: Final = 64 << 20
"""How large a JSON document may be. JSON Lines may be longer: each line is a document."""

_object: Final = msgspec.json.Decoder(dict[str, Raw])
_array: Final = msgspec.json.Decoder(list[Raw])
_any: Final = msgspec.json.Decoder(Raw)
_BOM: Final = b"\xef\xbb\xbf"
_NOTHING: Final = Raw(b"null")
_UNFINISHED: Final = "truncated"
"""What msgspec says of JSON that is right as far as it goes."""


class FoundSignal(Struct, frozen=True, kw_only=True):
    """What stands at one place of a file: a signal, or the sentences that say why it is none.

    ``place`` is told to people: ``line 17``, ``signal 3``. ``has_apikey`` says that there was a key beside it.
    """

    place: str
    signal: Signal | None = None
    problems: tuple[str, ...] = ()
    has_apikey: bool = False


def signals_in(file: BinaryIO) -> Iterator[FoundSignal]:
    """Every signal of a file, in its order, and whatever should be one."""
    for place, document in _documents(file):
        yield from _found(place, document)


def _documents(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """The JSON documents of a file: each line is one, unless the first one is only a beginning."""
    for index, (number, line) in enumerate(_lines(file)):
        if index == 0 and _is_unfinished(line):
            # With the line, this is more than a document may hold when there is more.
            yield "", line + file.read(DOCUMENT_BYTES_MAX)
            return
        yield f"line {number}", line


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers. One that is too long is cut, and is the last."""
    number = 0
    while line := file.readline(DOCUMENT_BYTES_MAX + 1):
        number += 1
        if number == 1:
            line = line.removeprefix(_BOM)
        if line.strip():
            yield number, line
        if len(line) > DOCUMENT_BYTES_MAX:
            return


def _is_unfinished(line: bytes) -> bool:
    try:
        _any.decode(line)
    except msgspec.DecodeError as error:
        return _UNFINISHED in str(error)
    except RecursionError:
        pass
    return False


def _found(place: str, document: bytes) -> Iterator[FoundSignal]:
    try:
        opened = _opened(document)
    except _Unreadable as error:
        yield FoundSignal(place=place or "the file", problems=(str(error),))
        return
    if not opened.is_list:
        yield _one(place or "the file", opened.values[0])
        return
    for number, value in enumerate(opened.values, start=1):
        own = f"{place}, signal {number}" if place else f"signal {number}"
        found = _one(own, value, is_in_list=True)
        yield msgspec.structs.replace(found, has_apikey=found.has_apikey or opened.has_apikey)


class _Unreadable(Exception):
    """A document does not hold signals; the message says why."""


class _Opened(Struct, frozen=True):
    """What a document holds: a list of what should be signals, or just one."""

    values: list[Raw]
    is_list: bool = True
    has_apikey: bool = False


def _opened(document: bytes) -> _Opened:
    if len(document) > DOCUMENT_BYTES_MAX:
        size = f"this is more than {DOCUMENT_BYTES_MAX >> 20} MiB"
        raise _Unreadable(f"{size}: write JSON Lines, one signal in each line")
    try:
        document.decode()
        value = _any.decode(document)
        if _is_array(value):
            return _Opened(_array.decode(value))
        if bytes(value).startswith(b"{"):
            members = _object.decode(value)
            items = members.get("items", _NOTHING)
            if _is_array(items) and "type" not in members:
                return _Opened(_array.decode(items), has_apikey="apikey" in members)
        return _Opened([value], is_list=False)
    except UnicodeDecodeError as error:
        advice = "encode the text as UTF-8, not as Latin-1 or Windows-1252"
        raise _Unreadable(f"byte {error.start} is not UTF-8: {advice}") from None
    except msgspec.DecodeError as error:
        fault = str(error).removeprefix("JSON is malformed: ")
        raise _Unreadable(f"this is not JSON: {fault}") from None
    except RecursionError:
        raise _Unreadable("this is nested too deep") from None


def _is_array(value: Raw) -> bool:
    return bytes(value).startswith(b"[")


def _one(place: str, value: Raw, *, is_in_list: bool = False) -> FoundSignal:
    if not bytes(value).startswith(b"{"):
        return FoundSignal(place=place, problems=("a signal is a JSON object, in braces",))
    members = _object.decode(value)
    has_apikey = "apikey" in members
    if is_in_list:
        members.pop("items", None)  # A bundle in a bundle is none: a server would not look there.
    try:
        return FoundSignal(place=place, signal=signal_of(members), has_apikey=has_apikey)
    except InvalidSignals as error:
        return FoundSignal(place=place, problems=error.sentences, has_apikey=has_apikey)
