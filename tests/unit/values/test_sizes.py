"""Sizes and the limits of documents (data-model.md 1.4 to 1.6)."""

import pytest

from concave.values.errors import DeveloperError
from concave.values.sizes import check_document, check_value, size
from concave.values.types import Int64

ID = "j57000820c20a1g7104gm2rc1m70ynr8"


def document(**fields):
    return {"_id": ID, "_creationTime": 1.7e12, **fields}


def refusal(check, value):
    with pytest.raises(DeveloperError) as caught:
        check(value)
    return caught.value.code, str(caught.value)


def nested(levels):
    value = 1.0
    for _ in range(levels):
        value = {"a": value}
    return value


def test_examples():
    assert size({"a": Int64(1), "b": "x", "c": [None, True, Int64(1)], "d": b"xx"}) == 39
    assert size(document(a=1.0)) == 74
    assert size("é") == 4
    assert size(document()) - size({}) == 38 + 23


def test_a_document_of_exactly_one_mebibyte_fits():
    room = 2**20 - size(document(body=""))
    check_document(document(body="x" * room))
    code, message = refusal(check_document, document(body="x" * (room + 1)))
    assert code == "ValueTooLargeError"
    assert message.startswith("Document is too large (1048577 bytes; the most is 1048576). Split it")


def test_a_document_may_have_1022_fields_of_its_own():
    check_document(document(**{f"f{i}": None for i in range(1022)}))
    code, message = refusal(check_document, document(**{f"f{i}": None for i in range(1023)}))
    assert code == "TooManyFieldsError"
    assert "the object has 1025 fields, the most is 1024" in message


def test_a_document_may_be_nested_16_levels_itself_included():
    check_document(document(a=nested(15)))
    code, message = refusal(check_document, document(a=nested(16)))
    assert code == "InvalidDocumentError"
    assert message.startswith("Document at path .a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a: ")
    assert "more than 16 levels deep" in message


def test_reserved_names_at_the_top_only():
    check_document(document(a={"_b": 1.0}))
    code, message = refusal(check_document, document(_secret=1.0))
    assert code == "InvalidFieldName"
    assert "'_secret' starts with an underscore" in message


def test_any_value_has_limits_of_its_own():
    check_value(nested(64))
    assert refusal(check_value, nested(65))[0] == "TooNestedError"
    assert refusal(check_value, [[None] * 8193])[1].startswith("Value at path [0]: the array has 8193 elements")
    assert refusal(check_value, [{"$a": 1.0}])[0] == "InvalidFieldName"
    check_value("x" * (2**25 - 2))
    assert refusal(check_value, "x" * (2**25 - 1))[0] == "ValueTooLargeError"
