"""What is told in bodies and rows, as Structs, and everything that is wrong with it."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from cloudsignal.protocol.refusals import DETAILS_MAX

T = TypeVar("T")

LIST_MAX: Final = 1000
"""How many things a list may have."""
NAME_CHARACTERS_MAX: Final = 255
_LIST_RULE: Final = f"an array of at most {LIST_MAX} items"

# Ends as in protocol/signals.py: `$` would let a trailing newline through in Python.
END: Final = r"(?![\s\S])"
LINE: Final = rf"^[^\x00-\x1f\x7f-\x9f]*{END}"
"""What is written in one line: no control characters."""

Name = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=NAME_CHARACTERS_MAX,
        pattern=rf"^(?=.*\S)[^\x00-\x1f\x7f-\x9f]+{END}",
        extra={"rule": f"a name of 1 to {NAME_CHARACTERS_MAX} characters in one line"},
    ),
]


class Wrong(Struct, frozen=True):
    """One thing that is wrong: where, and a sentence."""

    at: str
    info: str

    def __str__(self) -> str:
        """The sentence with its place."""
        return f"{self.at}: {self.info}" if self.at else self.info


class Unfit(Exception):
    """What was told cannot be taken; ``wrong`` is everything, ``DETAILS_MAX`` things at most."""

    def __init__(self, wrong: list[Wrong]) -> None:
        self.wrong = wrong[:DETAILS_MAX]
        super().__init__(str(wrong[0]))


def decoded(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises Unfit."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unfit([Wrong("", f"the body is not JSON: {error}")]) from None
    if not isinstance(value, dict):
        raise Unfit([Wrong("", "the body must be one JSON object")])
    return value


def converted(value: Any, type: type[T], place: str = "") -> T:
    """A value as a Struct of this type. Raises Unfit with everything that is wrong."""
    try:
        return msgspec.convert(value, type)
    except msgspec.ValidationError:
        raise Unfit(_wrong(type, value, place)) from None


# ---- what is wrong: only walked when something is ------------------------------------------------


def _wrong(type: type[Any], value: Any, place: str) -> list[Wrong]:
    if not isinstance(value, dict):
        return [Wrong(place, "must be an object")]
    wrong = wrong_fields(type, value, place)
    hints = get_type_hints(type, include_extras=True)
    for each in msgspec.structs.fields(type):
        at = below(place, each.name)
        given = value.get(each.name)
        if given is None and (each.required or each.name in value):
            if each.required:
                wrong.append(Wrong(at, f"is missing: it must be {_rule(hints[each.name])}"))
            elif not _fits(given, hints[each.name]):
                wrong.append(Wrong(at, "must not be null: leave it out"))
        elif given is not None:
            wrong += _wrong_value(hints[each.name], given, at)
    return wrong


def wrong_fields(
    type: type[Any], value: Mapping[str, Any], place: str, but: str | None = None
) -> list[Wrong]:
    """What is wrong with the names of the members of an object; those of a Struct are known, and ``but``."""
    known = type.__struct_fields__
    info = f"there is no such field, there are {', '.join(known)}"
    return [Wrong(below(place, name), info) for name in value if name not in (*known, but)]


def _wrong_value(hint: Any, value: Any, at: str) -> list[Wrong]:
    member = _member(hint)
    if member is None or not isinstance(value, list):
        return [] if _fits(value, hint) else [Wrong(at, f"must be {_rule(hint)}")]
    if len(value) > LIST_MAX:
        return [Wrong(at, f"must be {_LIST_RULE}")]
    wrong = [
        wrong
        for index, each in enumerate(value)
        if not _fits(each, member)
        for wrong in _wrong_member(member, each, f"{at}[{index}]")
    ]
    # Each of them may be right, and there are too many, or too few.
    return wrong or ([] if _fits(value, hint) else [Wrong(at, f"must be {_rule(hint)}")])


def _wrong_member(member: Any, value: Any, at: str) -> list[Wrong]:
    if isinstance(member, type) and issubclass(member, Struct):
        return _wrong(member, value, at)
    return [Wrong(at, f"must be {_rule(member)}")]


def _fits(value: Any, hint: Any) -> bool:
    try:
        msgspec.convert(value, hint)
    except msgspec.ValidationError:
        return False
    return True


def _member(hint: Any) -> Any:
    """What a list is a list of, None for what is no list."""
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    return get_args(plain)[0] if get_origin(plain) is list else None


def _rule(hint: Any) -> str:
    """What a value must be, in words."""
    for meta in getattr(hint, "__metadata__", ()):
        if "rule" in (meta.extra or {}):
            return str(meta.extra["rule"])
    if get_origin(hint) is list:
        return _LIST_RULE
    for each in get_args(hint):
        if rule := _rule(each):
            return rule
    return "true or false" if hint is bool else ""


def below(place: str, name: str) -> str:
    """The place of a member of what is at a place."""
    shown = re.sub(r"[^\x20-\x7e]", "?", name)[:NAME_CHARACTERS_MAX]
    return f"{place}.{shown}" if place else shown
