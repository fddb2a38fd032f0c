"""Where orders and items are: whatever they are called, a URL leads to them."""

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.server.panel import pages, places

IDS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=128)


@given(IDS, IDS)
def test_a_url_has_the_ids_of_an_item_as_they_are(order: str, item: str) -> None:
    url = urlsplit(places.item_path(order, item))

    assert url.path == "/item"
    assert url.fragment == ""
    assert parse_qs(url.query, strict_parsing=True) == {"order": [order], "item": [item]}
    assert parse_qs(urlsplit(places.order_path(order)).query) == {"order": [order]}


@given(IDS, IDS)
def test_who_signs_in_first_comes_to_the_same_item(order: str, item: str) -> None:
    path, _, query = f"{pages.PREFIX}{places.item_path(order, item)}".partition("?")

    [back] = parse_qs(urlsplit(pages.going_on_to(path, query)).query)["next"]

    assert pages.own_path(back) == places.item_path(order, item)


@pytest.mark.parametrize(
    ("given", "goes_on_to"),
    [
        ("/panel/x\r\nX-Evil: 1", "/x%0D%0AX-Evil:%201"),
        ("/panel/x?q=\r\nX", "/x?q=%0D%0AX"),
        ("/panel/ü?q=ü", "/%C3%BC?q=%C3%BC"),
        ("/panel/search?q=//a\\b", "/search?q=//a%5Cb"),
        ("/panel//evil?x", "/"),
        ("//evil.example/panel/", "/"),
        ("/panel", "/"),
    ],
)
def test_a_page_to_go_on_to_is_one_of_the_panel_and_fits_a_header(
    given: str, goes_on_to: str
) -> None:
    assert pages.own_path(given) == goes_on_to
