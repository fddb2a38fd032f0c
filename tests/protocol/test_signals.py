import re

import msgspec
import pytest
from hypothesis import given

from cloudsignal.protocol.signals import (
    BY_NAME,
    CANCELLATION_CAUSES,
    REMOVED_TYPES,
    SIGNAL_TYPES,
    Field,
    Signal,
    example,
    fields,
)
from tests.strategies import signals

DOCUMENTED = {
    "ItemRegistered": ("registered", [], []),
    "ItemProduce": ("producing", [], []),
    "ItemProduced": ("produced", [], []),
    "ItemPacked": ("packed", [], []),
    "ItemShipped": ("shipped", ["tracking", "shipping_option"], []),
    "ItemDelay": ("delayed", [], ["cause", "delay"]),
    "ItemError": ("delayed", [], ["cause", "delay"]),
    "ItemCanceled": ("canceled", [], ["cause", "message", "delay"]),
}
PUBLISHED_CAUSES = [
    "CancelCoverSpine",
    "CancelBookSize",
    "CancelCoverSize",
    "CancelBookCorrupt",
    "CancelCoverCorrupt",
    "CancelBookTrim",
    "CancelCoverTrim",
    "CancelPageCount",
    "CancelUnknownFont",
    "CancelBookMargins",
    "CancelCoverMargins",
    "CancelBookRip",
    "CancelCoverRip",
    "CancelUserRequest",
    "CancelInkjetCoverage",
    "CancelDownloadError",
    "CancelValidateError",
    "CancelInvalidAddress",
    "CancelTestOrder",
    "CancelFilesCorrupt",
    "CancelMiscError",
]
EVERY_FIELD = {field.name: field for signal in SIGNAL_TYPES for field in fields(signal)}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_type_has_its_documented_effect_and_fields(name: str) -> None:
    effect, required, optional = DOCUMENTED[name]
    signal = BY_NAME[name]
    assert signal.effect == effect
    assert [f.name for f in fields(signal) if f.required] == [
        "order",
        "item",
        "datetime",
        *required,
    ]
    assert [f.name for f in fields(signal) if not f.required] == optional


def test_there_are_no_other_types() -> None:
    assert list(BY_NAME) == list(DOCUMENTED)
    assert list(REMOVED_TYPES) == ["OrderRegistered"]


def test_the_published_causes_are_known() -> None:
    assert list(CANCELLATION_CAUSES) == PUBLISHED_CAUSES
    assert len(PUBLISHED_CAUSES) == 21


@pytest.mark.parametrize("signal", SIGNAL_TYPES)
def test_every_type_and_field_is_documented(signal: type[Signal]) -> None:
    assert signal.__doc__
    for field in fields(signal):
        assert field.description
        assert field.rule
        assert field.example


@pytest.mark.parametrize("signal", SIGNAL_TYPES)
def test_the_documented_example_is_a_valid_signal(signal: type[Signal]) -> None:
    assert msgspec.to_builtins(msgspec.convert(example(signal), signal)) == example(signal)


@given(signals())
def test_a_signal_is_frozen_data_that_json_carries(signal: Signal) -> None:
    assert msgspec.json.decode(msgspec.json.encode(signal), type=type(signal)) == signal
    assert hash(signal) == hash(msgspec.convert(msgspec.to_builtins(signal), type(signal)))


def accepts(field: Field, text: str) -> bool:
    try:
        msgspec.convert(text, field.type)
    except msgspec.ValidationError:
        return False
    return True


@pytest.mark.parametrize("name", ["order", "item", "tracking", "shipping_option"])
@pytest.mark.parametrize(
    "text",
    [
        "123456780000",
        "0",
        "000123",
        "a/b",
        "../..",
        "50%",
        "%2F",
        "Größe",
        "📦",
        " padded ",
        "two words",
        "\u200b",
        "A" * 128,
        "📦" * 128,
        '"quoted"',
        "back\\slash",
        "<b>&amp;",
    ],
)
def test_a_line_takes_any_printable_text(name: str, text: str) -> None:
    assert accepts(EVERY_FIELD[name], text)


@pytest.mark.parametrize("name", ["order", "item", "tracking", "shipping_option"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\u00a0",
        "\u3000 ",
        "A" * 256,
        "1\n",
        "\n1",
        "1\t2",
        "\x00",
        "1\x1f",
        "1\x7f",
        "1\x85",
        "\x80",
        "1\x9f",
        "1\r\n2",
    ],
)
def test_a_line_is_neither_blank_nor_broken_by_control_characters(name: str, text: str) -> None:
    assert not accepts(EVERY_FIELD[name], text)


@pytest.mark.parametrize(
    ("name", "longest"),
    [
        ("order", 128),
        ("item", 128),
        ("tracking", 255),
        ("shipping_option", 255),
    ],
)
@pytest.mark.parametrize("character", ["a", "ü", "📦"])
def test_length_is_counted_in_characters(name: str, longest: int, character: str) -> None:
    assert accepts(EVERY_FIELD[name], character * longest)
    assert not accepts(EVERY_FIELD[name], character * (longest + 1))


@pytest.mark.parametrize(
    ("type_name", "name", "longest"),
    [
        ("ItemDelay", "cause", 2000),
        ("ItemError", "cause", 2000),
        ("ItemCanceled", "cause", 255),
        ("ItemCanceled", "message", 2000),
    ],
)
def test_free_text_is_limited_in_length_only(type_name: str, name: str, longest: int) -> None:
    [field] = [field for field in fields(BY_NAME[type_name]) if field.name == name]
    assert accepts(field, "")
    assert accepts(field, "two\nlines\tand\u0000more")
    assert accepts(field, "ü" * longest)
    assert not accepts(field, "ü" * (longest + 1))


@pytest.mark.parametrize(
    "hours",
    [
        "0",
        "0.0",
        "24",
        "1.5",
        "024",
        "0024",
        "999",
        "8759.999999999",
        "8760",
        "8760.0",
        "8760.000000000",
    ],
)
def test_a_delay_is_hours_from_0_to_8760(hours: str) -> None:
    assert accepts(EVERY_FIELD["delay"], hours)
    assert 0 <= float(hours) <= 8760


@pytest.mark.parametrize(
    "hours",
    [
        "",
        "-1",
        "-0",
        "+1",
        "8760.1",
        "8760.000000001",
        "8761",
        "9000",
        "10000",
        "1e3",
        "1,5",
        ".5",
        "5.",
        " 24",
        "24 ",
        "24\n",
        "１２",
        "٣",
        "1_000",
        "0x1",
        "NaN",
        "Infinity",
        "24h",
        "1.5.5",
    ],
)
def test_a_delay_is_nothing_but_plain_decimal_hours(hours: str) -> None:
    assert not accepts(EVERY_FIELD["delay"], hours)


def test_every_whole_hour_is_read_by_its_value() -> None:
    accepted = [hours for hours in range(11_000) if accepts(EVERY_FIELD["delay"], str(hours))]
    assert accepted == list(range(8761))


def test_patterns_read_the_same_in_ecmascript() -> None:
    patterns = {
        field.type.__metadata__[0].pattern
        for field in EVERY_FIELD.values()
        if field.type.__metadata__[0].pattern
    }
    assert patterns
    for pattern in patterns:
        assert not re.search(r"\\[AZzd]|\$|\(\?[P<a-z]", pattern)
