"""One failing schema per rule of `data-model.md` 5.2, what the problems say, and the wire form of 5.1."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from concave.schema.definition import TableDefinition, define_table
from concave.schema.rules import Problem, validator_problems
from concave.schema.schema import Schema, SchemaDefinitionError
from concave.schema.validators import v
from concave.values.errors import ConfigurationError
from concave.values.limits import DEFAULT_LIMITS

Build = Callable[[], TableDefinition]


def table() -> TableDefinition:
    return define_table(
        name=v.string(),
        n=v.optional(v.number()),
        nested=v.object(a=v.string(), list=v.array(v.string()), map=v.record(v.string(), v.string())),
        vector=v.array(v.number()),
    )


def problems(tables: dict[str, TableDefinition], *, schema_validation: bool = True) -> tuple[Problem, ...]:
    with pytest.raises(SchemaDefinitionError) as caught:
        Schema(tables, schema_validation)
    return caught.value.problems


RULES: list[tuple[str, Build]] = [
    ("InvalidIndexName", lambda: table().index("by name", ["name"])),
    ("InvalidIndexName", lambda: table().index("", ["name"])),
    ("InvalidIndexName", lambda: table().index("i" * 65, ["name"])),
    ("IndexNameReserved", lambda: table().index("_mine", ["name"])),
    ("IndexNameReserved", lambda: table().index("by_id", ["name"])),
    ("IndexNameReserved", lambda: table().search_index("by_creation_time", search_field="name")),
    ("IndexNamesNotUnique", lambda: table().index("i", ["name"]).search_index("i", search_field="name")),
    ("EmptyIndex", lambda: table().index("i", [])),
    ("FieldsNotUniqueWithinIndex", lambda: table().index("i", ["name", "n", "name"])),
    ("IndexTooManyFields", lambda: define_table(v.any()).index("i", [f"f{n}" for n in range(16)])),
    ("IndexFieldsContainId", lambda: table().index("i", ["name", "_id"])),
    ("IndexFieldsContainCreationTime", lambda: table().index("i", ["_creationTime"])),
    ("IndexFieldNameReserved", lambda: table().index("i", ["_mine"])),
    ("IndexFieldNameReserved", lambda: table().index("i", ["nested._a"])),
    ("InvalidFieldPath", lambda: table().index("i", ["nested..a"])),
    ("InvalidFieldPath", lambda: table().search_index("i", search_field="no name")),
    ("IndexNotUnique", lambda: table().index("i", ["name"]).index("j", ["name"], staged=True)),
    (
        "SearchIndexFieldNotUnique",
        lambda: (
            table()
            .search_index("i", search_field="name", filter_fields=["n", "name"])
            .search_index("j", search_field="name", filter_fields=["name", "n"])
        ),
    ),
    (
        "VectorIndexFieldNotUnique",
        lambda: (
            table()
            .vector_index("i", vector_field="vector", dimensions=2)
            .vector_index("j", vector_field="vector", dimensions=2, filter_fields=["n"])
        ),
    ),
    (
        "IndexTooManyFilterFields",
        lambda: define_table(v.any()).search_index("i", search_field="s", filter_fields=[f"f{n}" for n in range(17)]),
    ),
    ("InvalidVectorDimensionError", lambda: table().vector_index("i", vector_field="vector", dimensions=1)),
    ("InvalidVectorDimensionError", lambda: table().vector_index("i", vector_field="vector", dimensions=4097)),
    ("SchemaDefinitionError", lambda: table().index("i", ["nmae"])),
    ("SchemaDefinitionError", lambda: table().index("i", ["nested.map.x"])),
    ("SchemaDefinitionError", lambda: table().index("i", ["nested.list.x"])),
    ("SchemaDefinitionError", lambda: table().search_index("i", search_field="name", filter_fields=["m"])),
    ("SchemaDefinitionError", lambda: table().vector_index("i", vector_field="nested.list", dimensions=2)),
    ("InvalidTopLevelTypeInSchemaError", lambda: define_table(v.string())),
    ("InvalidTopLevelTypeInSchemaError", lambda: define_table(v.union(v.object(), v.any()))),
    ("InvalidTopLevelTypeInSchemaError", lambda: define_table(v.record(v.string(), v.any()))),
    ("InvalidRecordType", lambda: define_table(m=v.record(v.number(), v.any()))),
    ("InvalidRecordType", lambda: define_table(m=v.record(v.union(v.string(), v.literal("a")), v.any()))),
    ("UnsupportedFloatLiteral", lambda: define_table(x=v.array(v.literal(math.inf)))),
    ("InvalidIdentifier", lambda: define_table({"a b": v.any()})),
    ("UnknownTableInId", lambda: define_table(x=v.id("nowhere"))),
    ("DocInTable", lambda: define_table(x=v.doc("t"))),
    ("OnDeleteNeedsNull", lambda: define_table(x=v.id("t", on_delete="set_null")).index("by_x", ["x"])),
    ("OnDeleteNeedsIndex", lambda: define_table(x=v.id("t", on_delete="cascade"))),
    ("OnDeleteNeedsIndex", lambda: define_table(x=v.id("t", on_delete="cascade"), y=v.any()).index("i", ["y", "x"])),
    ("OnDeleteNeedsIndex", lambda: define_table(x=v.id("t", on_delete="cascade")).index("i", ["x"], staged=True)),
    ("OnDeleteNotFindable", lambda: define_table(x=v.array(v.id("t", on_delete="cascade")))),
    ("OnDeleteNotFindable", lambda: define_table(x=v.record(v.id("t", on_delete="restrict"), v.any()))),
    ("OnDeleteNotFindable", lambda: define_table(x=v.object(y=v.array(v.object(z=v.id("t", on_delete="restrict")))))),
    (
        "OnDeleteAmbiguous",
        lambda: define_table(
            v.union(v.object(x=v.id("t", on_delete="cascade")), v.object(x=v.id("t", on_delete="restrict")))
        ).index("by_x", ["x"]),
    ),
    ("TraitNeedsFields", lambda: define_table(v.any()).timestamps()),
]


@pytest.mark.parametrize(("code", "build"), RULES)
def test_each_rule_has_its_code(code: str, build: Build) -> None:
    found = problems({"t": build()})
    assert [problem.code for problem in found] == [code]
    problem = found[0]
    assert problem.table == "t"
    assert problem.location.file == __file__
    assert problem.mend.endswith((".", "?"))
    assert code in str(problem)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("_mine", "TableNameReserved"),
        ("my table", "InvalidTableName"),
        ("", "InvalidTableName"),
        ("t" * 65, "InvalidTableName"),
    ],
)
def test_table_names(name: str, code: str) -> None:
    assert [problem.code for problem in problems({name: define_table()})] == [code]


def test_all_problems_are_reported_at_once() -> None:
    found = problems({
        "b": define_table(x=v.id("nowhere")).index("by_id", ["y"]),
        "a": define_table(v.null()),
    })  # fmt: skip
    assert [(p.table, p.code) for p in found] == [
        ("a", "InvalidTopLevelTypeInSchemaError"),
        ("b", "UnknownTableInId"),
        ("b", "IndexNameReserved"),
        ("b", "SchemaDefinitionError"),
    ]


def test_the_error_is_a_configuration_error_with_every_problem_in_its_text() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Schema({"t": table().index("i", ["nmae"])})
    text = str(caught.value)
    assert text.startswith("the schema has 1 problem:\n")
    assert f"{__file__}:" in text
    assert "table `t`, index `i`" in text


def test_a_field_that_cannot_exist_names_near_ones() -> None:
    (problem,) = problems({"t": table().index("i", ["nmae"])})
    assert "cannot have a field `nmae`" in problem.message
    assert problem.mend == "Did you mean `name`?"


def test_a_field_that_cannot_exist_names_all_where_none_is_near() -> None:
    (problem,) = problems({"t": table().index("i", ["nested.zzz"])})
    assert "`nested` cannot have a field `zzz`" in problem.message
    assert problem.mend == "There are `a`, `list`, `map`."


def test_an_unknown_table_in_an_id_names_near_ones() -> None:
    (problem,) = problems({"users": define_table(), "t": define_table(x=v.array(v.id("user")))})
    assert problem.message == 'at `.x[]`: v.id("user") names a table that the schema lacks'
    assert problem.mend == "Did you mean `users`?"


def test_ids_of_visible_system_tables_are_fine() -> None:
    Schema({"t": define_table(a=v.id("_storage"), b=v.id("_scheduled_functions"))})
    (problem,) = problems({"t": define_table(a=v.id("_tables"))})
    assert problem.code == "UnknownTableInId"


def test_on_delete_set_null_needs_room_for_no_id() -> None:
    Schema({
        "t": define_table(
            a=v.optional(v.id("t", on_delete="set_null")),
            b=v.nullable(v.id("t", on_delete="set_null")),
            c=v.id("t", on_delete="cascade"),
        ).index("by_a", ["a"]).index("by_b", ["b"]).index("by_c", ["c", "a"])
    })  # fmt: skip


def test_on_delete_without_an_index_names_the_one_to_add() -> None:
    (problem,) = problems({"t": define_table(o=v.object(x=v.id("t", on_delete="restrict")))})
    assert problem.message.startswith("at `.o.x`: on_delete needs an index that begins with `o.x`")
    assert problem.mend == 'Add .index("by_o_x", ["o.x"]) to the table.'


def _indexed(count: int, *, unique: bool = False) -> TableDefinition:
    definition = define_table(v.any())
    for n in range(count):
        definition.index(f"i{n}", [f"f{n}"], unique=unique)
    return definition


def test_the_number_of_indexes_is_limited() -> None:
    Schema({"t": _indexed(32)})
    (problem,) = problems({"t": _indexed(32).search_index("s", search_field="s")})
    assert (problem.code, problem.index) == ("TooManyIndexes", "s")


def test_the_limit_on_indexes_is_a_setting() -> None:
    with pytest.raises(SchemaDefinitionError):
        Schema({"t": _indexed(3)}, limits=replace(DEFAULT_LIMITS, indexes_per_table_max=2))
    Schema({"t": _indexed(40)}, limits=replace(DEFAULT_LIMITS, indexes_per_table_max=64))


def test_unique_indexes_count_twice_against_mongos_limit() -> None:
    Schema({"t": _indexed(31, unique=True)})
    (problem,) = problems({"t": _indexed(32, unique=True)})
    assert problem.code == "TooManyIndexes"
    assert "66 indexes in MongoDB" in problem.message


def test_the_number_of_tables_is_limited() -> None:
    with pytest.raises(SchemaDefinitionError) as caught:
        Schema({"a": define_table(), "b": define_table()}, limits=replace(DEFAULT_LIMITS, tables_max=1))
    assert [problem.code for problem in caught.value.problems] == ["TooManyTables"]


def test_fifteen_fields_of_ones_own_fit() -> None:
    Schema({"t": define_table(v.any()).index("i", [f"f{n}" for n in range(15)])})


def test_without_schema_validation_paths_are_not_judged() -> None:
    Schema({"t": table().index("i", ["nmae"]).vector_index("v", vector_field="name", dimensions=2)}, False)


def test_vectors_may_be_anything_that_can_be_numbers() -> None:
    definition = define_table(
        a=v.array(v.any()), b=v.any(), c=v.nullable(v.array(v.union(v.null(), v.number()))), d=v.object(e=v.any())
    )
    for n, field in enumerate(["a", "b", "c", "d.e", "b.x"]):
        definition.vector_index(f"v{n}", vector_field=field, dimensions=2)
    Schema({"t": definition})


def test_schema_of_reports_two_tables_of_one_name_with_both_lines() -> None:
    first, second, other = define_table(), define_table(), define_table(x=v.id("nowhere"))
    first.bind("t")
    second.bind("t")
    other.bind("o")
    with pytest.raises(SchemaDefinitionError) as caught:
        Schema.of([first, second, other])
    duplicate, unknown = caught.value.problems
    assert (duplicate.code, unknown.code) == ("DuplicateTable", "UnknownTableInId")
    assert str(first.location) in duplicate.message
    assert str(second.location) in duplicate.message


def test_schema_of_takes_the_same_table_twice() -> None:
    definition = define_table()
    definition.bind("t")
    assert list(Schema.of([definition, definition]).tables) == ["t"]


def test_validators_of_functions_are_judged_by_the_same_rules() -> None:
    found = validator_problems(v.object(a=v.record(v.union(), v.any()), b=v.literal(math.nan)))
    assert [(problem.code, problem.path) for problem in found] == [
        ("InvalidRecordType", ".a"),
        ("UnsupportedFloatLiteral", ".b"),
    ]
    assert validator_problems(v.record(v.union(v.id("a"), v.string()), v.any())) == []


def test_the_wire_form() -> None:
    definition = (
        define_table(name=v.string(), vector=v.array(v.number()))
        .index("by_name", ["name"], unique=True)
        .index("later", ["vector"], staged=True)
        .search_index("s", search_field="name", filter_fields=["vector"])
        .search_index("s2", search_field="name", staged=True)
        .vector_index("v", vector_field="vector", dimensions=2)
        .vector_index("v2", vector_field="vector", dimensions=3, filter_fields=["name"], staged=True)
    )
    assert Schema({"t": definition, "a": define_table(v.any())}).to_json() == {
        "tables": [
            {
                "tableName": "a",
                "indexes": [],
                "stagedDbIndexes": [],
                "searchIndexes": [],
                "stagedSearchIndexes": [],
                "vectorIndexes": [],
                "stagedVectorIndexes": [],
                "documentType": {"type": "any"},
            },
            {
                "tableName": "t",
                "indexes": [{"indexDescriptor": "by_name", "fields": ["name"]}],
                "stagedDbIndexes": [{"indexDescriptor": "later", "fields": ["vector"]}],
                "searchIndexes": [{"indexDescriptor": "s", "searchField": "name", "filterFields": ["vector"]}],
                "stagedSearchIndexes": [{"indexDescriptor": "s2", "searchField": "name", "filterFields": []}],
                "vectorIndexes": [
                    {"indexDescriptor": "v", "vectorField": "vector", "dimensions": 2, "filterFields": []}
                ],
                "stagedVectorIndexes": [
                    {"indexDescriptor": "v2", "vectorField": "vector", "dimensions": 3, "filterFields": ["name"]}
                ],
                "documentType": v.object(name=v.string(), vector=v.array(v.number())).json(),
            },
        ],
        "schemaValidation": True,
    }
