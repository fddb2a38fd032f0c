"""Files of JSON: what is found in them, and where, whatever they hold."""

import io
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.partner import reading
from cloudsignal.partner.reading import FoundSignal, signals_in
from cloudsignal.protocol.signals import Signal
from tests import strategies

PACKED = {"type": "ItemPacked", "order": "7", "item": "1", "datetime": "2026-01-01T00:00:00Z"}
SHIPPED = PACKED | {"type": "ItemShipped"}
LINE = json.dumps(PACKED)


def found(content: str | bytes) -> list[FoundSignal]:
    data = content.encode() if isinstance(content, str) else content
    return list(signals_in(io.BytesIO(data)))


def places(content: str | bytes) -> list[tuple[str, bool]]:
    return [(each.place, each.signal is not None) for each in found(content)]


def problems(content: str | bytes) -> list[str]:
    return [f"{each.place}: {problem}" for each in found(content) for problem in each.problems]


# ---- every form ----


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", []),
        ("\n \n", []),
        (LINE, ["line 1"]),
        ("\ufeff" + LINE, ["line 1"]),
        (f"\n{LINE}\r\n\r\n{LINE}", ["line 2", "line 4"]),
        (json.dumps(PACKED, indent=1), ["the file"]),
        (json.dumps([PACKED, PACKED]), ["line 1, signal 1", "line 1, signal 2"]),
        (json.dumps([PACKED, PACKED], indent=1), ["signal 1", "signal 2"]),
        (json.dumps({"items": [PACKED]}), ["line 1, signal 1"]),
        (json.dumps({"items": [PACKED, PACKED]}, indent=1), ["signal 1", "signal 2"]),
        (json.dumps(PACKED | {"items": None}), ["line 1"]),
        (json.dumps({"items": []}), []),
    ],
)
def test_a_file_is_of_one_of_these_forms(content: str, expected: list[str]) -> None:
    assert places(content) == [(place, True) for place in expected]


@given(st.lists(strategies.signals(), max_size=5))
def test_signals_come_back_as_they_were_written(signals: list[Signal]) -> None:
    lines = b"\n".join(map(msgspec.json.encode, signals))
    document = msgspec.json.format(msgspec.json.encode(signals))
    bundle = msgspec.json.format(msgspec.json.encode({"items": signals}))
    for content in (lines, document, bundle):
        assert [each.signal for each in found(content)] == signals


@given(
    st.binary(max_size=60) | strategies.json_values.map(lambda value: json.dumps(value).encode())
)
def test_whatever_a_file_holds_is_said(content: bytes) -> None:
    for each in found(content):
        assert (each.signal is None) == bool(each.problems)
        assert each.place


# ---- what is wrong ----


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (f"{LINE}\nnonsense\n{LINE}", "line 2: this is not JSON: "),
        (f"nonsense\n{LINE}", "line 1: this is not JSON: "),
        (f"{LINE}\n{LINE[:20]}", "line 2: this is not JSON: "),
        (f"{LINE}\n[7]", "line 2, signal 1: a signal is a JSON object"),
        ("7", "line 1: a signal is a JSON object"),
        (b"\xff", "line 1: byte 0 is not UTF-8"),
        (LINE.encode() + b'\n{"a": "\xe4"}', "line 2: byte 7 is not UTF-8: encode the text as"),
        ("[" * 100_000, "line 1: this is nested too deep"),
        (json.dumps(SHIPPED), "line 1: ItemShipped needs tracking"),
        (json.dumps(SHIPPED), "line 1: ItemShipped needs shipping_option"),
        (json.dumps([PACKED, SHIPPED], indent=1), "signal 2: ItemShipped needs tracking"),
        (json.dumps(PACKED | {"items": [PACKED]}), "line 1: send either one signal"),
        (json.dumps({"items": [{"items": [PACKED]}]}), "line 1, signal 1: type is missing"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(content: str | bytes, expected: str) -> None:
    assert [each for each in problems(content) if each.startswith(expected)], problems(content)


def test_one_bad_line_does_not_hide_the_others() -> None:
    bad = json.dumps(SHIPPED)
    assert places(f"{LINE}\n{bad}\n{LINE}") == [
        ("line 1", True),
        ("line 2", False),
        ("line 3", True),
    ]


def test_a_document_has_a_limit_and_lines_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "DOCUMENT_BYTES_MAX", 2 * len(LINE))
    assert places(f"{LINE}\n" * 100) == [(f"line {n}", True) for n in range(1, 101)]
    [told] = problems(json.dumps([PACKED] * 3, indent=1))
    assert "write JSON Lines" in told
    [*_, told] = problems(f"{LINE}\n{json.dumps([PACKED] * 3)}\n{LINE}")
    assert told.startswith("line 2: this is more than ")


# ---- keys ----


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (PACKED, False),
        (PACKED | {"apikey": "a" * 32}, True),
        ({"apikey": "a" * 32, "items": [PACKED]}, True),
        ([PACKED | {"apikey": "a" * 32}], True),
        (SHIPPED | {"apikey": "a" * 32}, True),
    ],
)
def test_a_key_in_a_file_is_seen_and_not_kept(value: Any, expected: bool) -> None:
    [each] = found(json.dumps(value))
    assert each.has_apikey is expected
    assert "a" * 32 not in repr(each)
