"""The catalog: what the engine asks about tables at run time. Immutable; a push makes a new one.

Unknown tables and indexes are `DeveloperError`s that say which name may have been meant.
"""

from __future__ import annotations

from collections.abc import Mapping

from concave.schema.checking import Check, compile_document_check
from concave.schema.definition import Policy
from concave.schema.plan import IndexLayout, Plan, TableLayout, TablePlan
from concave.schema.references import Reference, references_by_target
from concave.schema.rules import near
from concave.schema.schema import Schema
from concave.schema.system_tables import SYSTEM_TABLE_NUMBERS, SYSTEM_TABLES
from concave.schema.validators import Validator, with_system_fields
from concave.values.errors import DeveloperError
from concave.values.ids import decode_id


class Catalog:
    """A plan and the numbers of its tables. Implements `checking.SchemaLookup`.

    `numbers` must have one for each user table of the plan, and may have more (tables that the schema dropped: their
    ids are still recognised); system tables have theirs by definition. `policies` are those of tables that have any.
    """

    __slots__ = ("_checks", "_names", "_references", "numbers", "plan", "policies")

    def __init__(self, plan: Plan, numbers: Mapping[str, int]) -> None:
        self.plan = plan
        self.numbers: dict[str, int] = {**numbers, **SYSTEM_TABLE_NUMBERS}
        self._names = {number: name for name, number in self.numbers.items()}
        missing = [name for name in plan.tables if name not in self.numbers]
        assert not missing, f"tables without a number: {missing}"
        assert len(self._names) == len(self.numbers), "two tables share one number"
        self._references = references_by_target(plan.schema.tables)
        self.policies: dict[str, Policy] = {
            name: table.access_policy for name, table in plan.schema.tables.items() if table.access_policy is not None
        }
        self._checks: dict[str, Check] = {
            name: compile_document_check(table.document_type, self) for name, table in plan.tables.items()
        }

    @property
    def schema(self) -> Schema:
        return self.plan.schema

    def table_number(self, table: str) -> int:
        """The number in the table's ids; raises `DeveloperError("TableNotFound")`."""
        number = self.numbers.get(table)
        if number is None:
            raise self._unknown_table(table)
        return number

    def find_table_number(self, table: str) -> int | None:
        return self.numbers.get(table)

    def table_name(self, number: int) -> str | None:
        """The table whose ids carry the number; hidden system tables and dropped tables included."""
        return self._names.get(number)

    def table_plan(self, table: str) -> TablePlan:
        """The table's plan; raises `DeveloperError("TableNotFound")`."""
        plan = self.plan.tables.get(table)
        if plan is None:
            raise self._unknown_table(table)
        return plan

    def layout(self, table: str) -> TableLayout:
        """The table's indexes; raises `DeveloperError("TableNotFound")`."""
        return self.table_plan(table).layout

    def index(self, table: str, name: str) -> IndexLayout:
        """An index that queries may use; raises `TableNotFound`, `IndexNotFoundError` or `IndexStagedError`."""
        layout = self.layout(table).indexes.get(name)
        if layout is None:
            raise self._unknown_index(table, name)
        if layout.staged:
            raise DeveloperError(
                "IndexStagedError",
                f"Index `{table}.{name}` is staged and cannot be queried yet. "
                "Remove staged=True from its definition and push the schema.",
            )
        return layout

    def check_document(self, table: str) -> Check:
        """The compiled check of the table's documents: returns the document, as a copy where plain ints became floats;
        raises `ValidationFailure`. `_id` and `_creationTime` may be in it and are not checked."""
        check = self._checks.get(table)
        if check is None:
            raise self._unknown_table(table)
        return check

    def references_to(self, table: str) -> tuple[Reference, ...]:
        """The references with `on_delete` that documents of the table may be the target of."""
        return self._references.get(table, ())

    def document_validator(self, table: str) -> Validator:
        """What a document of the table looks like, system fields included (`v.doc`)."""
        return with_system_fields(self.table_plan(table).document_type, table)

    def normalize_id(self, table: str, text: str) -> str | None:
        """The id if it is one of the table's, else None, as for unknown and hidden tables. Reads no document (3.4)."""
        if table not in self.plan.tables:
            return None
        try:
            number, _ = decode_id(text)
        except ValueError:
            return None
        return text if number == self.numbers[table] else None

    def is_system_table(self, table: str) -> bool:
        """Whether the table is one that users may only read, through `ctx.db.system`."""
        return table in SYSTEM_TABLES

    def _unknown_table(self, table: str) -> DeveloperError:
        return DeveloperError(
            "TableNotFound", f"There is no table `{table}` in the schema. {near(table, sorted(self.schema.tables))}"
        )

    def _unknown_index(self, table: str, name: str) -> DeveloperError:
        plan = self.plan.tables[table]
        others = {index.name for index in plan.search_indexes} | {index.name for index in plan.vector_indexes}
        if name in others:
            hint = "It is a search or vector index: query it with `with_search_index` or `ctx.vector_search`."
        else:
            names = list(plan.layout.indexes)
            hint = near(name, names)
            if hint.startswith("Did"):
                hint += f" The table's indexes are {', '.join(f'`{each}`' for each in names)}."
        return DeveloperError("IndexNotFoundError", f"Index `{table}.{name}` not found. {hint}")
