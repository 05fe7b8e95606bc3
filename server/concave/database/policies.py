"""Table policies, `define_table(...).policy(read=, insert=, modify=)`: asked below every API.

Modelled on convex-helpers' row-level security (function-runtime.md 18.2).

| rule | is asked | when it says no |
|---|---|---|
| `read(ctx, document)` | for each document that a read comes to | the document looks absent |
| `insert(ctx, document)` | with the new document | `ConvexError` with code `policy` |
| `modify(ctx, document)` | before a patch, replace or delete; twice, see below | `ConvexError` with code `policy` |

* Absent: `get` gives None, scans, counts and pages skip the document, and writes to it find nothing.
* `modify` gets the document as it is, and then what a patch or replace makes of it. The second question goes beyond
  convex-helpers: nobody can move a document to where they could not have changed it, such as another workspace. An
  internal function that may do so says `ctx.db.without_policies()`.
* A rule that is left out allows. Rules are functions or async functions; they must return True or False: anything else
  is an error, so that a forgotten `return` or `await` lets nobody in.
* Rules get a context of their own (`db`, `auth`, `now`, `env`): `db` reads without policies. What a rule reads is part
  of what the function depends on, and counts as read by it. A rule that asks who calls makes the result one for that
  caller alone. Equal reads of rules in one run are made once.
* `document` is a copy, system fields included.
* Policies hold in every function, internal ones too, whoever calls. They are not asked by the engine itself: schema
  checks, unique indexes and `on_delete` see all documents, as do the admin's commands.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

from concave.database.calls import CallTracker
from concave.database.rows import RowRule
from concave.database.transaction import GuardedOperation, Transaction, copy_document
from concave.schema.definition import Policy, Rule
from concave.schema.plan import IndexLayout
from concave.storage.store import Order, Store
from concave.values.errors import ConvexError, DeveloperError
from concave.values.types import Document, Timestamp, Value


class Policies:
    """The policies of one run. `context` makes what rules get as `ctx`; it is given the tracker of the rule's calls."""

    __slots__ = ("_context", "_policies")

    def __init__(self, policies: Mapping[str, Policy], context: Callable[[CallTracker], Any]) -> None:
        self._policies = policies
        self._context = context

    def read_rule(self, table: str) -> RowRule | None:
        """The question that is asked of each of the table's rows; None if all may be seen."""
        policy = self._policies.get(table)
        rule = None if policy is None else policy.read
        if rule is None:
            return None

        async def may_read(document: Document) -> bool:
            return await self._ask(rule, "read", table, document)

        return may_read

    async def may_read(self, table: str, document: Document) -> bool:
        rule = self.read_rule(table)
        return rule is None or await rule(document)

    async def check(self, operation: GuardedOperation, table: str, document: Document) -> None:
        """Raise `ConvexError` (code `policy`) if the rule for the operation says no."""
        policy = self._policies.get(table)
        rule = None if policy is None else policy.insert if operation == "insert" else policy.modify
        if rule is not None and not await self._ask(rule, operation, table, document):
            data: dict[str, Value] = {
                "code": "policy",
                "table": table,
                "operation": operation,
                "message": f"the policy of table `{table}` does not allow to {operation} this document",
            }
            if operation == "modify":
                data["id"] = document["_id"]
            raise ConvexError(data)

    async def _ask(self, rule: Rule, name: str, table: str, document: Document) -> bool:
        calls = CallTracker(journaled=False)
        try:
            answer = rule(self._context(calls), copy_document(document))
            if inspect.isawaitable(answer):
                answer = await answer
        except BaseException:
            calls.closed = True
            raise
        calls.check()
        if answer is True or answer is False:
            return answer
        raise DeveloperError(
            "InvalidPolicy",
            f"the `{name}` policy of table `{table}` returned {type(answer).__name__}: it must return True or False",
        )


def rule_view(tx: Transaction) -> Transaction:
    """The transaction as rules read it: the same in all, but equal reads of the store are made once."""
    view = copy.copy(tx)
    view.store = cast(Store, RememberedReads(tx.store))  # rules only read
    return view


class RememberedReads:
    """A store's reads at one snapshot, each made once: what a rule looks up for a row it often looks up for the next.

    Holds no more than the transaction's limits let rules read. Documents handed out are copies.
    """

    __slots__ = ("_counts", "_documents", "_scans", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._documents: dict[tuple[str, str], Document | None] = {}
        self._scans: dict[tuple[str, str, bytes, bytes, Order, int], list[Document]] = {}
        self._counts: dict[str, int] = {}

    async def get(self, table: str, id: str, ts: Timestamp) -> Document | None:
        key = (table, id)
        if key not in self._documents:
            self._documents[key] = await self._store.get(table, id, ts)
        document = self._documents[key]
        return None if document is None else copy_document(document)

    async def scan(
        self, table: str, index: IndexLayout, low: bytes, high: bytes, *, order: Order, limit: int, ts: Timestamp
    ) -> list[Document]:
        key = (table, index.name, low, high, order, limit)
        if key not in self._scans:
            self._scans[key] = await self._store.scan(table, index, low, high, order=order, limit=limit, ts=ts)
        return [copy_document(document) for document in self._scans[key]]

    async def count(self, table: str, ts: Timestamp) -> int:
        if table not in self._counts:
            self._counts[table] = await self._store.count(table, ts)
        return self._counts[table]
