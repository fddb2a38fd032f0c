"""The examples for order owners believe a signed webhook, and nothing else."""

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import django
import pytest
from django.conf import settings
from django.test import Client as DjangoClient
from django.urls import path as django_path
from fastapi.testclient import TestClient as FastApiClient

from cloudsignal.protocol import signatures
from tests.docs.pages import DOCS, blocks, text

PAGE = DOCS / "order-owners.md"
SECRET = signatures.written(b"s" * 32)
APIKEY = "1e9d2f0a7c"
BODY = next(block.text for block in blocks(PAGE) if block.language == "json").encode()

Post = Callable[[dict[str, str], bytes], int]
"""Posts to a receiver: the status of its answer."""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("WEBHOOK_APIKEY", APIKEY)


def example(heading: str, folder: Path) -> ModuleType:
    """The block below a heading, as a module."""
    begin = text(PAGE).index(f"# {heading}\n")
    block = next(
        block
        for block in blocks(PAGE)
        if block.language == "python" and text(PAGE).index(block.text) > begin
    )
    file = folder / "receiver.py"
    file.write_text(block.text)
    spec = importlib.util.spec_from_file_location("receiver", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plain(folder: Path) -> Post:
    receive = example("In Python", folder).receive
    return lambda headers, body: int(receive(headers, body)[0])


def fastapi(folder: Path) -> Post:
    client = FastApiClient(example("FastAPI", folder).app)
    return lambda headers, body: client.post("/webhooks", content=body, headers=headers).status_code


def flask(folder: Path) -> Post:
    client = example("Flask", folder).app.test_client()
    return lambda headers, body: int(
        client.post("/webhooks", data=body, headers=headers).status_code
    )


def in_django(folder: Path) -> Post:
    if not settings.configured:
        # Without LOGGING_CONFIG Django would set up the logging of the whole process.
        settings.configure(ROOT_URLCONF=Urls, ALLOWED_HOSTS=["testserver"], LOGGING_CONFIG=None)
        django.setup()
    Urls.urlpatterns = [django_path("webhooks", example("Django", folder).receive)]
    client = DjangoClient(enforce_csrf_checks=True)

    def post(headers: dict[str, str], body: bytes) -> int:
        answer: Any = client.post(
            "/webhooks", data=body, content_type="application/json", headers=headers
        )
        return int(answer.status_code)

    return post


class Urls:
    urlpatterns: ClassVar[list[Any]] = []


@pytest.fixture(params=[plain, fastapi, flask, in_django], ids=lambda each: each.__name__)
def post(request: pytest.FixtureRequest, tmp_path: Path) -> Post:
    made: Post = request.param(tmp_path)
    return made


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return signatures.headers(
        [signatures.read(secret)], id="msg_1", now_s=int(time.time()), body=body
    )


def test_a_signed_webhook_is_taken(post: Post, capsys: pytest.CaptureFixture[str]) -> None:
    assert post(signed(BODY), BODY) in (200, 204)
    assert "1A2B3C4D5E6F" in capsys.readouterr().out


def test_what_is_forged_is_refused_and_not_printed(
    post: Post, capsys: pytest.CaptureFixture[str]
) -> None:
    other = signatures.written(b"x" * 32)
    changed = BODY.replace(b"1A2B", b"9Z9Z")
    wrong_key = BODY.replace(APIKEY.encode(), b"another")
    assert post(signed(BODY, other), BODY) == 400
    assert post(signed(BODY), changed) == 400
    assert post(signed(wrong_key), wrong_key) == 400
    assert post({}, BODY) == 400
    assert capsys.readouterr().out == ""
