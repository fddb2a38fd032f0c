"""Hypothesis strategies for signals, derived from the signal classes and their fields.

A new type or field is generated without a change here; whatever is generated is valid.
"""

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from msgspec import Meta

from cloudsignal.protocol import wire
from cloudsignal.protocol.signals import (
    CANCELLATION_CAUSES,
    SIGNAL_TYPES,
    Field,
    Signal,
    fields,
)

APIKEY = "13b37bb1ed6d3403e158abe719b4f6d0"

instants = st.datetimes(datetime(2000, 1, 2), datetime(2100, 12, 30), timezones=st.just(UTC))
"""Moments that every time zone writes with a year of 2000 to 2100."""

offsets = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda m: timezone(timedelta(minutes=m)))

characters = st.characters(exclude_categories=["Cs"])
"""Every character that UTF-8 can carry."""
printable = st.characters(exclude_categories=["Cs", "Cc"])


@st.composite
def spellings(draw: st.DrawFn, moments: SearchStrategy[datetime] = instants) -> str:
    """A datetime in one of the documented spellings, with a zone of its own."""
    moment = draw(moments)
    if draw(st.booleans()):
        local = moment.replace(tzinfo=None).isoformat(draw(st.sampled_from("T ")))
        return local + draw(st.sampled_from(["Z", " GMT", " UTC", "UTC", "+00:00", " +0000"]))
    zoned = moment.astimezone(draw(offsets)).isoformat(draw(st.sampled_from("T ")))
    local, offset = zoned[:-6], zoned[-6:]
    return (
        local
        + draw(st.sampled_from(["", " "]))
        + draw(st.sampled_from([offset, offset.replace(":", "")]))
    )


hours = st.one_of(
    st.sampled_from(["0", "8760", "8760.0", "1.5", "024"]),
    st.decimals(0, 8760, places=2, allow_nan=False).map(str),
)
"""A delay as it is written on the wire."""


def texts(field: Field) -> SearchStrategy[str]:
    """What a field may hold, as its annotation says."""
    if field.error == "invalid_datetime":
        return spellings()
    if field.error == "invalid_delay":
        return hours
    meta: Meta = get_args(field.type)[1]
    alphabet = printable if meta.pattern else characters
    text = st.text(alphabet, min_size=meta.min_length or 0, max_size=min(meta.max_length or 0, 20))
    if meta.pattern:
        text = text.filter(re.compile(meta.pattern).search)
    if field.name == "cause":
        text |= st.sampled_from(sorted(CANCELLATION_CAUSES))
    return text


def signals(
    types: tuple[type[Signal], ...] = SIGNAL_TYPES, **values: SearchStrategy[str]
) -> SearchStrategy[Signal]:
    """A signal of one of ``types``; ``values`` stand in for what its fields may hold."""
    return st.one_of([_signals_of(signal, values) for signal in types])


def _signals_of(
    signal: type[Signal], values: dict[str, SearchStrategy[str]]
) -> SearchStrategy[Signal]:
    required = {f.name: values.get(f.name, texts(f)) for f in fields(signal) if f.required}
    optional = {f.name: values.get(f.name, texts(f)) for f in fields(signal) if not f.required}
    return st.fixed_dictionaries(required, optional=optional).map(lambda held: signal(**held))


def histories(
    types: tuple[type[Signal], ...] = SIGNAL_TYPES, max_size: int = 9
) -> SearchStrategy[list[Signal]]:
    """Signals of one item, few enough of everything that they meet and tie."""
    values = {
        "order": st.just("123456780000"),
        "item": st.just("123456780001"),
        "datetime": st.integers(0, 6).map(lambda minute: f"2016-01-20 13:0{minute}:00 GMT"),
        "tracking": st.sampled_from(["A1", "B2"]),
        "shipping_option": st.sampled_from(["GLS", "DHL"]),
        "cause": st.sampled_from(["", "CancelBookSize", "jam"]),
        "message": st.sampled_from(["", "torn", "wet"]),
        "delay": st.sampled_from(["0", "24", "1.5"]),
    }
    return st.lists(signals(types, **values), max_size=max_size)


def bodies() -> SearchStrategy[bytes]:
    """A valid request body: one signal, or a bundle."""
    return st.lists(signals(), min_size=1, max_size=4).map(
        lambda bundle: wire.encode(APIKEY, *bundle)
    )


json_values: SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(characters, max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(characters, max_size=8) | st.just("apikey"), inner, max_size=3)
    ),
    max_leaves=5,
)
"""Anything JSON can say."""


def post_body(*, apikey: object = APIKEY, **members: object) -> bytes:
    """A request body with just these members, valid or not."""
    return json.dumps({"apikey": apikey, **members}, ensure_ascii=False).encode()


def report_of(signal: Signal) -> wire.Report:
    """What validation makes of a signal once it came over the wire."""
    [report] = wire.validate(wire.decode(wire.encode(APIKEY, signal)), zone=UTC)
    return report
