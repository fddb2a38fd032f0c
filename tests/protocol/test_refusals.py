import json

import pytest

from cloudsignal.protocol.refusals import DETAILS_MAX, STATUS, Problem, Refusal, refuse

DOCUMENTED = {
    400: """
        invalid_content_type invalid_json not_an_object missing_parameter invalid_parameter
        invalid_datetime invalid_delay unlisted_cause unknown_type type_removed ambiguous_post
        empty_bundle bundle_too_large unknown_order
    """,
    401: "unknown_key",
    403: "key_disabled key_expired address_not_allowed wrong_kind_of_key not_your_item",
    405: "method_not_allowed",
    410: "version_removed",
    413: "body_too_large",
    429: "too_many_requests",
    503: "overloaded unavailable",
}
ADDED = {"invalid_http": 400, "defect": 500}
"""Beyond the documented list: what never became an HTTP request, and what should never be."""


def test_every_documented_error_has_its_status_and_there_are_no_others() -> None:
    documented = {name: status for status, names in DOCUMENTED.items() for name in names.split()}
    assert documented | ADDED == STATUS


@pytest.mark.parametrize("type", STATUS)
def test_a_refusal_answers_in_the_shape_of_the_field(type: str) -> None:
    refusal = refuse(type, "do this: “…”", at="items[3].delay")
    assert refusal.status == STATUS[type]
    assert str(refusal) == "do this: “…”"
    assert json.loads(refusal.body()) == {
        "error": {
            "type": type,
            "info": "do this: “…”",
            "details": [{"at": "items[3].delay", "type": type, "info": "do this: “…”"}],
        }
    }


def test_the_first_problem_speaks_for_all() -> None:
    refusal = Refusal([Problem("item", "missing_parameter", "a"), Problem("", "unknown_key", "b")])
    assert (refusal.type, refusal.info, refusal.status) == ("missing_parameter", "a", 400)
    assert [problem.info for problem in refusal.problems] == ["a", "b"]


def test_the_list_of_problems_is_limited() -> None:
    refusal = Refusal([Problem("", "unknown_type", str(n)) for n in range(DETAILS_MAX + 5)])
    assert [problem.info for problem in refusal.problems] == [str(n) for n in range(100)]


@pytest.mark.parametrize("retry_after_s", [None, 0, 7])
def test_a_refusal_says_when_to_come_back(retry_after_s: int | None) -> None:
    assert refuse("overloaded", "later", retry_after_s=retry_after_s).retry_after_s == retry_after_s
