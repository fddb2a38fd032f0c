"""The OpenAPI document: it is derived from the code, and what it says is what is answered."""

import json
import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from requests import Request
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

from cloudsignal.protocol import signatures
from cloudsignal.protocol.http import ENDPOINT, PATHS
from cloudsignal.protocol.refusals import STATUS
from cloudsignal.protocol.signals import (
    BY_NAME,
    SIGNAL_TYPES,
    ItemCanceled,
    Signal,
    example,
    fields,
)
from cloudsignal.server import clock
from cloudsignal.server.api import create
from cloudsignal.server.api.openapi import EXAMPLE_KEY
from tests.acceptance.conftest import Server

EXAMPLES = 25
"""How many requests are made up for each operation, right ones and wrong ones each."""
ENDLESS = {"followLog"}
"""What has no end to be checked: it has tests of its own."""

DOCUMENT: Any = json.loads(create(*[None] * 4)._app.state.document)  # type: ignore[arg-type]
OPERATIONS = [
    found.ok()
    for found in schemathesis.openapi.from_dict(
        DOCUMENT, config=schemathesis.Config.from_dict({"seed": 1})
    ).get_all_operations()
]
KNOWN = {"owner": "Example owner", "partner": "Example printer", "due": "2016-01-20T13:00:00Z"}
KNOWN_ENDPOINT = {
    "owner": KNOWN["owner"],
    "url": "https://owner.example/webhooks",
    "secret": signatures.written(b"s" * 32),
}
UNDECIDABLE = [checks.positive_data_acceptance]
"""A check that needs what a schema cannot say: whether a text is a real datetime, or a cursor that
was given out."""


def name(operation: Any) -> str:
    """What an operation is called."""
    called: str = operation.definition.raw["operationId"]
    return called


def takes_anything(operation: Any) -> bool:
    """Whether there is anything to ask wrongly."""
    return bool(operation.definition.raw.get("parameters") or operation.body)


def make_acceptable(body: Any) -> None:
    """Put in what a schema cannot say: a key and names that are known, and real datetimes."""
    for each in (body, *body.get("orders", [])) if isinstance(body, dict) else ():
        for name, known in KNOWN.items():
            if each.get(name) is not None and "order" in each:
                each[name] = known
    if isinstance(body, dict) and "url" in body:
        body |= {name: known for name, known in KNOWN_ENDPOINT.items() if body.get(name)}
    elif isinstance(body, dict) and not {"orders", "owner"} & body.keys():
        body["apikey"] = EXAMPLE_KEY
        for each in (body, *body.get("items", [])):
            if "datetime" in each:
                each["datetime"] = "2016-01-20 13:00:00 GMT"


def sent(case: Any, server: Server) -> set[str]:
    """The names of the parameters in the URL of a request."""
    request = Request(**case.as_transport_kwargs(base_url=server.address)).prepare()
    return {name for name, _ in parse_qsl(urlsplit(request.url).query, keep_blank_values=True)}


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    """A token that may read everything."""
    return server.token("operator")


@pytest.fixture(scope="module", autouse=True)
def _example_key(server: Server) -> None:
    """The key of the examples opens an interface here, so that what is made up gets further."""
    now = clock.now()
    with server.access() as (access, keyring):
        partner = access.create_partner("Example printer", now=now)
        digest = keyring.digest(EXAMPLE_KEY)
        access.create_interface(partner, digest, timezone="UTC", allow=(), test=False, now=now)
    with server.store() as store:
        store.orders.create_owner(KNOWN["owner"], now=now)


@pytest.mark.parametrize(
    ("operation", "mode"),
    [
        pytest.param(each, mode, id=f"{name(each)}-{mode.value}")
        for each in OPERATIONS
        for mode in (GenerationMode if takes_anything(each) else [GenerationMode.POSITIVE])
        if name(each) not in ENDLESS
    ],
)
def test_answers_are_as_described(
    server: Server, token: str, operation: Any, mode: GenerationMode
) -> None:
    statuses = set()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def answered(case: Any) -> None:
        if mode is GenerationMode.POSITIVE:
            make_acceptable(case.body)
            if "owner" in (case.query or {}):
                case.query["owner"] = KNOWN["owner"]
        else:
            # Some of what is wrong has no form in a URL, such as an empty list: then nothing wrong is sent.
            assume(set(case.query or {}) <= sent(case, server))
        response = case.call_and_validate(
            base_url=server.address,
            headers={"Authorization": f"Bearer {token}"},
            excluded_checks=UNDECIDABLE,
        )
        statuses.add(response.status_code)

    answered()
    if mode is GenerationMode.POSITIVE and not operation.path_parameters:
        assert {200, 201} & statuses
    assert server.lines("a request to the API failed") == []


def test_every_example_of_a_post_is_accepted(server: Server) -> None:
    content = DOCUMENT["paths"][ENDPOINT]["post"]["requestBody"]["content"]["application/json"]
    assert set(content["examples"]) == {*BY_NAME, "bundle"}
    for each in content["examples"].values():
        assert server.post(each["value"]).status == 200


def test_an_item_and_its_order_look_as_described(server: Server, token: str) -> None:
    posted = example(ItemCanceled)
    assert server.post({"apikey": EXAMPLE_KEY} | posted).status == 200
    for operation in OPERATIONS:
        if name(operation) in ("showItem", "showOrder"):
            case = operation.Case(
                path_parameters={each.name: posted[each.name] for each in operation.path_parameters}
            )
            headers = {"Authorization": f"Bearer {token}"}
            response = case.call_and_validate(base_url=server.address, headers=headers)
            assert response.status_code == 200


# ---- what it says ----


def test_the_document_that_is_served_is_this_one(server: Server) -> None:
    assert server.request("GET", "/api/v1/openapi.json").json == DOCUMENT


def test_every_operation_has_a_name_and_says_what_it_does() -> None:
    names = [name(operation) for operation in OPERATIONS]
    assert len(set(names)) == len(names)
    assert all(operation.definition.raw["summary"] for operation in OPERATIONS)


def test_every_reference_leads_somewhere() -> None:
    found = set(re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert found == set(DOCUMENT["components"]["schemas"])


def test_the_endpoint_is_where_posts_are_taken() -> None:
    assert ENDPOINT in PATHS


@pytest.mark.parametrize("signal", SIGNAL_TYPES, ids=lambda signal: signal.__name__)
def test_a_signal_is_described_as_its_class_says(signal: type[Signal]) -> None:
    described = DOCUMENT["components"]["schemas"][signal.__name__]
    properties = described["properties"]
    assert properties.pop("type") == {"enum": [signal.__name__]}
    assert list(properties) == [field.name for field in fields(signal)]
    assert set(described["required"]) == {"type"} | {
        field.name for field in fields(signal) if field.required
    }
    assert described["description"] == signal.__doc__
    for field in fields(signal):
        assert field.description in json.dumps(properties[field.name])


def test_the_type_tells_signals_apart() -> None:
    single = DOCUMENT["components"]["schemas"]["SinglePost"]
    assert single["discriminator"]["propertyName"] == "type"
    assert set(single["discriminator"]["mapping"]) == set(BY_NAME)


def test_every_refusal_is_described_with_its_types() -> None:
    responses = DOCUMENT["paths"][ENDPOINT]["post"]["responses"]
    described = {
        type: int(status)
        for status, response in responses.items()
        if status != "200"
        for type in response["content"]["application/json"]["schema"]["allOf"][1]["properties"][
            "error"
        ]["properties"]["type"]["enum"]
    }
    of_other_requests = {"method_not_allowed": 405, "version_removed": 410}
    assert described | of_other_requests == STATUS
    assert not set(described) & set(of_other_requests)


def test_whoever_needs_a_token_is_told() -> None:
    for operation in OPERATIONS:
        raw = operation.definition.raw
        needs_one = operation.path.startswith("/api/v1/")
        assert (raw.get("security", DOCUMENT["security"]) == [{"token": []}]) is needs_one
        assert ("WWW-Authenticate" in json.dumps(raw["responses"])) is needs_one
