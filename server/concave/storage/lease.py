"""Leases: work that one node at a time does for all, told apart in MongoDB (`_leases`).

A lease is a document `{_id: name, holder, until, ...}`; further fields are the work's own notes, which the next holder
finds. The database's clock decides when a lease has run out, so the clocks of nodes need not agree.

Not promised: a holder that stood still for longer than its term may believe in its lease for the rest of the step it
was in, while another holds it. Work under a lease must stand being done twice.
"""

from __future__ import annotations

from typing import Any, Final

from pymongo.errors import OperationFailure

from concave.storage.lane import Lanes
from concave.values.types import Document

LEASES: Final = "_leases"
_DUPLICATE_KEY: Final = 11000


class Lease:
    """One node's wish for the lease `name`. A term is `term_s` seconds from the last `take`."""

    def __init__(self, lanes: Lanes, name: str, holder: str, *, term_s: float) -> None:
        self._lanes = lanes
        self._name = name
        self._holder = holder
        self._term_ms = int(term_s * 1000)

    async def take(self, notes: Document | None = None) -> Document | None:
        """Take the lease, or keep it for another term, and change its notes: the lease document, or None if another
        node holds it. Raises `StoreUnavailable` and pymongo's `OperationFailure`."""
        has_ended = {"$lt": ["$until", "$$NOW"]}  # true also where there is no `until`
        is_ours = {"$or": [{"$eq": ["$holder", {"$literal": self._holder}]}, has_ended]}

        def ours(value: Any, field: str) -> dict[str, Any]:
            return {"$cond": [is_ours, value, {"$ifNull": [f"${field}", "$$REMOVE"]}]}

        changes = {
            "holder": ours({"$literal": self._holder}, "holder"),
            "until": ours({"$add": ["$$NOW", self._term_ms]}, "until"),
            **{name: ours({"$literal": value}, name) for name, value in (notes or {}).items()},
        }
        command = {
            "findAndModify": LEASES,
            "query": {"_id": self._name},
            "update": [{"$set": changes}],
            "upsert": True,
            "new": True,
            "writeConcern": {"w": "majority"},
        }
        try:
            found: Document = (await self._lanes.command(command))["value"]
        except OperationFailure as error:
            if error.code == _DUPLICATE_KEY:  # two nodes made the document at once; the other one did
                return None
            raise
        return found if found["holder"] == self._holder else None

    async def give_up(self) -> None:
        """Let the next one have it at once."""
        query = {"_id": self._name, "holder": self._holder}
        update = {"q": query, "u": {"$unset": {"holder": "", "until": ""}}}
        await self._lanes.command({"update": LEASES, "updates": [update], "writeConcern": {"w": 1}})
