"""Definitions: what is recorded, traits, names, lines."""

from __future__ import annotations

import pytest

from concave.schema.definition import AppOptions, Policy, define_app, define_table
from concave.schema.validators import v
from concave.values.errors import ConfigurationError, DeveloperError


def test_fields_by_keyword_by_dict_and_by_validator_are_the_same() -> None:
    by_keyword = define_table(name=v.string())
    assert by_keyword.document_type == v.object(name=v.string())
    assert define_table({"name": v.string()}).document_type == by_keyword.document_type
    assert define_table(v.object(name=v.string())).document_type == by_keyword.document_type
    assert define_table().document_type == v.object()


def test_both_a_validator_and_fields_are_refused() -> None:
    with pytest.raises(DeveloperError, match=r"test_definition\.py:\d+: give either"):
        define_table(v.object(), name=v.string())


def test_a_field_that_is_no_validator_is_named_with_its_line() -> None:
    with pytest.raises(DeveloperError, match=r"test_definition\.py:\d+, field `name`: .*no validator"):
        define_table(name=str)  # type: ignore[arg-type]


def test_definitions_know_their_lines() -> None:
    table = define_table(name=v.string())
    table.index("by_name", ["name"])
    assert table.location.file == __file__
    assert table.declared_indexes[0].location.line == table.location.line + 1


def test_indexes_are_recorded_in_order() -> None:
    table = (
        define_table(name=v.string(), vector=v.array(v.number()))
        .index("by_name", ["name"], unique=True)
        .index("later", ("name",), staged=True)
        .search_index("search_name", search_field="name", filter_fields=["name"])
        .vector_index("by_vector", vector_field="vector", dimensions=3, filter_fields=["name"], staged=True)
    )
    assert [(i.name, i.fields, i.unique, i.staged) for i in table.indexes] == [
        ("by_name", ("name",), True, False),
        ("later", ("name",), False, True),
    ]
    search, vector = table.search_indexes[0], table.vector_indexes[0]
    assert (search.name, search.search_field, search.filter_fields) == ("search_name", "name", ("name",))
    assert (vector.name, vector.vector_field, vector.dimensions, vector.staged) == ("by_vector", "vector", 3, True)


def test_dots_at_the_ends_of_a_path_are_ignored() -> None:
    assert define_table().index("i", [".a.b."]).indexes[0].fields == ("a.b",)


@pytest.mark.parametrize("fields", ["name", [1], [None]])
def test_index_fields_must_be_a_list_of_strings(fields: object) -> None:
    with pytest.raises(DeveloperError, match="index `i` must be a list of strings"):
        define_table().index("i", fields)  # type: ignore[arg-type]


def test_a_workspace_scoped_table_has_the_field_and_the_index() -> None:
    table = define_table(name=v.string()).workspace_scoped()
    assert table.document_type == v.object(name=v.string(), workspaceId=v.id("workspaces"))
    assert [(i.name, i.fields) for i in table.indexes] == [("by_workspaceId", ("workspaceId",))]


def test_what_is_declared_has_precedence_over_traits() -> None:
    table = (
        define_table(workspaceId=v.id("workspaces", on_delete="cascade"))
        .workspace_scoped()
        .index("by_workspace", ["workspaceId"])
    )
    assert table.document_type == v.object(workspaceId=v.id("workspaces", on_delete="cascade"))
    assert [i.name for i in table.indexes] == ["by_workspace"]


def test_soft_deletes_and_timestamps_add_fields() -> None:
    table = define_table().soft_deletes().timestamps()
    number = v.number()
    assert table.document_type == v.object(deletedAt=v.optional(number), createdAt=number, updatedAt=v.optional(number))
    assert table.indexes == []


def test_traits_reach_each_member_of_a_union() -> None:
    table = define_table(v.union(v.object(a=v.null()), v.object(b=v.null()))).soft_deletes()
    deleted = v.optional(v.number())
    assert table.document_type == v.union(
        v.object(a=v.null(), deletedAt=deleted), v.object(b=v.null(), deletedAt=deleted)
    )


def test_reserved_top_level_fields_are_dropped() -> None:
    nested = v.object(_inside=v.null())
    assert define_table(_id=v.id("t"), _x=v.any(), nested=nested).document_type == v.object(nested=nested)


def test_policies_are_recorded() -> None:
    def rule() -> bool:
        return True

    assert define_table().policy(read=rule).access_policy == Policy(read=rule)
    assert define_table().access_policy is None


def test_a_table_takes_one_name() -> None:
    table = define_table()
    table.bind("users")
    table.bind("users")
    with pytest.raises(ConfigurationError, match="two names, `users` and `people`") as caught:
        table.bind("people")
    assert caught.value.code == "TableBoundTwice"


def test_app_options() -> None:
    assert define_app() == AppOptions(require_index=False, schema_validation=True)
    assert define_app(require_index=True).require_index
