"""An endpoint's URL: what it may be, and that its secrets are never shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.server.addresses import network
from cloudsignal.server.delivery.targets import URL_CHARS_MAX, Rules, shown, target_of
from cloudsignal.server.settings import Settings

STRICT = Rules()
LOOSE = Rules((network("127.0.0.0/8"), network("::1")), http=True)


@pytest.mark.parametrize(
    ("given", "dialled"),
    [
        ("https://owner.example", "https://owner.example"),
        ("HTTPS://Owner.Example:8443/a/b?c=d", "https://owner.example:8443/a/b?c=d"),
        ("https://owner.example/#part", "https://owner.example/"),
        ("https://owner.example./", "https://owner.example./"),
        ("https://under_score.example/", "https://under_score.example/"),
        ("https://drückerei.example/", "https://xn--drckerei-75a.example/"),
        ("https://1.1.1.1/", "https://1.1.1.1/"),
        ("https://0x01010101/", "https://1.1.1.1/"),
        ("https://[2606:4700::1111]/", "https://[2606:4700::1111]/"),
        ("https://user:word@owner.example/", "https://owner.example/"),
    ],
)
def test_where_a_url_leads(given: str, dialled: str) -> None:
    assert str(target_of(given, STRICT).url) == dialled


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "https://"),
        ("owner.example/webhooks", "https://"),
        ("//owner.example", "https://"),
        ("ftp://owner.example", "https://"),
        ("file:///etc/passwd", "https://"),
        ("http://owner.example", "webhook_http"),
        ("https://", "name a host"),
        ("https:///path", "name a host"),
        ("https://a..b/", "name a host"),
        ("https://.example/", "name a host"),
        ("https://" + "a" * 64 + ".example/", "name a host"),
        ("https://" + "a." * 127 + "example/", "name a host"),
        ("https://1::2/", "no URL"),
        ("https://owner.example:0/", "port"),
        ("https://owner.example:65536/", "no URL"),
        ("https://owner.example:https/", "no URL"),
        ("https://owner.example\\@127.0.0.1/", "no URL"),
        ("https://owner example/", "no spaces"),
        ("https://owner.example/\r\nHost: other", "no spaces"),
        ("https://owner.example/\0", "no spaces"),
        ("https://%6c%6f/", "percent"),
        ("https://[fe80::1%25eth0]/", "percent"),
        ("https://owner.example/" + "a" * URL_CHARS_MAX, str(URL_CHARS_MAX)),
        ("https://10.0.0.1/", "private"),
        ("https://127.1/", "loopback"),
        ("https://2130706433/", "loopback"),
        ("https://0x7f.0.0.1/", "loopback"),
        ("https://１２７.0.0.1/", "loopback"),
        ("https://①②⑦.0.0.1/", "loopback"),
        ("https://127。0。0。1/", "loopback"),
        ("https://[::1]/", "loopback"),
        ("https://[::ffff:127.0.0.1]/", "loopback"),
        ("https://[::ffff:a9fe:a9fe]/", "metadata"),
    ],
)
def test_what_is_no_url_of_an_endpoint_is_told(url: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        target_of(url, STRICT)


def test_the_operator_allows_more() -> None:
    settings = Settings(webhook_networks=("127.0.0.0/8", "::1"), webhook_http=True)
    assert Rules.of(settings) == LOOSE
    assert Rules.of(Settings()) == STRICT
    assert str(target_of("http://0x7f000001:8000/", LOOSE).url) == "http://127.0.0.1:8000/"
    assert str(target_of("http://[0::1]/", LOOSE).url) == "http://[::1]/"
    with pytest.raises(ValueError, match="metadata"):
        target_of("http://169.254.169.254/", Rules((network("0.0.0.0/0"),), http=True))


@pytest.mark.parametrize(
    ("user", "header"),
    [
        ("", None),
        ("@", None),
        ("user:word@", "Basic dXNlcjp3b3Jk"),
        ("user@", "Basic dXNlcjo="),
        (":word@", "Basic OndvcmQ="),
        ("us%3Aer:w%40rd%0D%0A@", "Basic dXM6ZXI6d0ByZA0K"),
        ("ü:é@", "Basic w7w6w6k="),
    ],
)
def test_user_and_password_become_basic_auth(user: str, header: str | None) -> None:
    assert target_of(f"https://{user}owner.example/", STRICT).authorization == header


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("https://owner.example/a/b", "https://owner.example/a/b"),
        ("https://user:word@owner.example/a?b=c#d", "https://owner.example/a?…"),
        ("https://us@er:wo@rd@owner.example/#d?e", "https://owner.example/?…"),
        ("https://owner.example/@a", "https://owner.example/@a"),
        ("/elsewhere?token=1", "/elsewhere?…"),
        ("", ""),
    ],
)
def test_what_is_secret_in_a_url_is_not_shown(url: str, seen: str) -> None:
    assert shown(url) == seen


letters = st.text("abcdefghijklmnopqrstuvwxyz", min_size=6, max_size=9).map(
    lambda each: f"zq{each}"
)


@given(letters, letters, letters)
def test_a_target_shows_no_secret(user: str, password: str, token: str) -> None:
    target = target_of(
        f"https://{user}:{password}@owner.example/hook?token={token}#{token}", STRICT
    )
    for text in (repr(target), str(target), f"{target}"):
        assert text.count("https://owner.example/hook?…") == 1
        assert not any(secret in text for secret in (user, password, token))


@given(st.text(), st.sampled_from(["", "https://", "http://", "https://zqsecret:zqsecret@"]))
def test_any_text_is_a_target_or_a_sentence_without_its_secrets(text: str, start: str) -> None:
    try:
        target = target_of(start + text + "?zqsecret", STRICT)
    except ValueError as error:
        told = str(error)
    else:
        assert target.url.scheme == "https"
        told = repr(target)
    assert "zqsecret" not in told
