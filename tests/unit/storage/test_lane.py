"""Replies are decoded as documents of a table, errors as what they are."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from bson import ObjectId
from bson.errors import InvalidBSON

from concave.storage.bson_documents import INTEGERS_ARE_FLOATS, INTEGERS_ARE_INT64, Codec
from concave.storage.lane import decode

CODECS = pytest.mark.parametrize("codec", [INTEGERS_ARE_FLOATS, INTEGERS_ARE_INT64])


def body_of(reply: dict[str, Any]) -> memoryview:
    """As on the wire: four bytes of flags and the section's kind come before the document."""
    return memoryview(b"\0" * 5 + bson.encode(reply))


@CODECS
def test_an_error_that_names_the_topology_is_an_error_and_not_a_document_of_foreign_types(codec: Codec) -> None:
    refused = {
        "topologyVersion": {"processId": ObjectId(), "counter": 7},
        "ok": 0.0,
        "errmsg": "operation was interrupted",
        "code": 11602,
        "codeName": "InterruptedDueToReplStateChange",
    }
    assert decode(body_of(refused), codec) == refused


@CODECS
def test_a_document_of_foreign_types_is_refused(codec: Codec) -> None:
    reply = {"cursor": {"id": 0, "firstBatch": [{"_id": ObjectId()}]}, "ok": 1.0}
    with pytest.raises(InvalidBSON, match="ObjectId is no Convex value"):
        decode(body_of(reply), codec)
