"""Which references a schema has, by what they refer to, and how each is found."""

from __future__ import annotations

from concave.schema.definition import define_table
from concave.schema.references import Reference, references_by_target
from concave.schema.schema import Schema
from concave.schema.validators import v


def test_references_are_found_by_the_shortest_index_that_begins_with_them() -> None:
    tables = {
        "users": define_table(),
        "posts": define_table(
            authorId=v.id("users", on_delete="cascade"),
            editorId=v.optional(v.nullable(v.id("users", on_delete="set_null"))),
            meta=v.object(by=v.optional(v.id("users", on_delete="set_null"))),
            plain=v.id("users"),
        )
        .index("by_author_and_editor", ["authorId", "editorId"])
        .index("by_author", ["authorId"])
        .index("by_editor", ["editorId"])
        .index("by_meta", ["meta.by"]),
    }
    Schema(tables)
    assert references_by_target(tables) == {
        "users": (
            Reference("posts", ("authorId",), "users", "cascade", "by_author", removes_field=False),
            Reference("posts", ("editorId",), "users", "set_null", "by_editor", removes_field=False),
            Reference("posts", ("meta", "by"), "users", "set_null", "by_meta", removes_field=True),
        )
    }


def test_one_field_may_refer_to_several_tables() -> None:
    tables = {
        "a": define_table(),
        "b": define_table(),
        "c": define_table(
            v.union(
                v.object(to=v.union(v.id("a", on_delete="restrict"), v.id("b", on_delete="cascade"))),
                v.object(to=v.id("a", on_delete="restrict")),
            )
        ).index("by_to", ["to"]),
    }
    Schema(tables)
    assert references_by_target(tables) == {
        "a": (Reference("c", ("to",), "a", "restrict", "by_to", removes_field=False),),
        "b": (Reference("c", ("to",), "b", "cascade", "by_to", removes_field=False),),
    }
