"""What the log keeps of an old version gives the same keys as the whole document."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from concave.schema.definition import define_table
from concave.schema.plan import TableLayout, compile_plan
from concave.schema.schema import Schema
from concave.schema.validators import v
from concave.storage.projection import compile_projection

NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(".".join)
VALUES = st.recursive(
    st.sampled_from([None, 1.0, "x", []]), lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)


def layout_of(paths: list[str]) -> TableLayout:
    table = define_table(v.any())
    for number, path in enumerate(paths):
        table.index(f"by_{number}", [path])
    return compile_plan(Schema({"t": table})).tables["t"].layout


@given(st.lists(PATHS, max_size=4, unique=True), st.dictionaries(NAMES, VALUES, max_size=3))
def test_the_projection_has_the_documents_keys(paths: list[str], fields: dict[str, Any]) -> None:
    layout = layout_of(paths)
    project = compile_projection(path for index in layout.indexes.values() for path in index.fields)
    document = {"_id": "x", "_creationTime": 1.0, **fields}
    before = repr(document)
    kept = project(document)
    assert layout.keys(kept) == layout.keys(document)
    assert repr(document) == before
    assert project(kept) == kept


def test_only_indexed_fields_are_kept() -> None:
    project = compile_projection(["a", "b.c", "b.d.e", "b.d"])
    document = {
        "_id": "x",
        "_creationTime": 1.0,
        "a": 1.0,
        "b": {"c": 2.0, "d": {"e": 3.0, "f": 4.0}, "g": 5.0},
        "h": 6.0,
    }
    assert project(document) == {
        "_id": "x",
        "_creationTime": 1.0,
        "a": 1.0,
        "b": {"c": 2.0, "d": {"e": 3.0, "f": 4.0}},
    }


def test_a_path_through_something_else_is_left_out() -> None:
    project = compile_projection(["b.c"])
    assert project({"_id": "x", "_creationTime": 1.0, "b": [1.0]}) == {"_id": "x", "_creationTime": 1.0}
    assert project({"_id": "x", "_creationTime": 1.0}) == {"_id": "x", "_creationTime": 1.0}
