"""What the functions of `app/board.py` do, said again over plain dicts: one state, one call at a time.

Everything here is written for obviousness, and shares no code with the engine. The order of rows is that of Convex's
indexes: by the indexed fields, then creation time, then id.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Final

Document = dict[str, Any]
Rows = dict[str, Document]
State = dict[str, Rows]
"""Table -> id -> document. Never changed once made: a change makes new dicts on its way."""

TABLES: Final = ("registers", "logs", "cards", "accounts", "shifts", "notices")
EMPTY: Final[State] = {table: {} for table in TABLES}


Fresh = dict[tuple[str, ...], tuple[str, float]]
"""Identity -> id and creation time."""

_IDENTITIES: Final = {
    "registers": ("name",),
    "logs": ("name",),
    "cards": ("label",),
    "accounts": ("owner",),
    "shifts": ("team", "person"),
    "notices": ("text",),
}


def identity(table: str, fields: Document) -> tuple[str, ...]:
    """What tells a document from all others of its table, from its insertion to its end."""
    return (table, *(str(fields[name]) for name in _IDENTITIES[table]))


class ModelFailure(Exception):
    """The function throws a ConvexError with this data."""

    def __init__(self, data: Any) -> None:
        super().__init__(repr(data))
        self.data = data


def changed(state: State, writes: Iterable[tuple[str, str, Document | None]]) -> State:
    """The state after some (table, id, new document or None for none)."""
    after = dict(state)
    for table, document_id, document in writes:
        rows = after[table] = dict(after[table])
        if document is None:
            rows.pop(document_id, None)
        else:
            rows[document_id] = document
    return after


class ModelTransaction:
    """One mutation's view of a state: reads see its own writes. `fresh` are the ids and creation times that the engine
    gave to the documents it inserted, by `identity`. A document that is not among them must not outlive the batch."""

    def __init__(self, state: State, fresh: Fresh) -> None:
        self.state = state
        self._fresh = fresh

    def rows(self, table: str, *order: str, **where: Any) -> list[Document]:
        return rows(self.state, table, *order, **where)

    def insert(self, table: str, fields: Document) -> None:
        name = identity(table, fields)
        document_id, creation_time = self._fresh.get(name) or (repr(name), math.inf)
        self._put(table, document_id, {**fields, "_id": document_id, "_creationTime": creation_time})

    def patch(self, table: str, document: Document, fields: Document) -> None:
        self._put(table, document["_id"], {**document, **fields})

    def delete(self, table: str, document: Document) -> None:
        self._put(table, document["_id"], None)

    def _put(self, table: str, document_id: str, document: Document | None) -> None:
        self.state = changed(self.state, [(table, document_id, document)])


def rows(state: State, table: str, *order: str, **where: Any) -> list[Document]:
    """The documents of a table with these field values, ordered by fields, then creation time and id."""
    found = [row for row in state[table].values() if all(row[name] == wanted for name, wanted in where.items())]
    return sorted(found, key=lambda row: (*(row[name] for name in order), row["_creationTime"], row["_id"]))


def _one(found: list[Document]) -> Document | None:
    return found[0] if found else None


# -- mutations ------------------------------------------------------------------------------------------------------


def set_up(tx: ModelTransaction, owners: list[str], balance: float, teams: list[str], people: list[str]) -> None:
    for owner in owners:
        tx.insert("accounts", {"owner": owner, "balance": balance})
    for team in teams:
        for person in people:
            tx.insert("shifts", {"team": team, "person": person, "onCall": True})


def put(tx: ModelTransaction, name: str, value: float) -> float | None:
    register = _one(tx.rows("registers", name=name))
    if register is None:
        tx.insert("registers", {"name": name, "value": value})
        return None
    tx.patch("registers", register, {"value": value})
    held: float = register["value"]
    return held


def increment(tx: ModelTransaction, name: str) -> float:
    value = (register(tx.state, name) or 0) + 1
    put(tx, name, value)
    return value


def swap_if(tx: ModelTransaction, name: str, expected: float, value: float) -> bool:
    if not tx.rows("registers", name=name) or register(tx.state, name) != expected:
        return False
    put(tx, name, value)
    return True


def append(tx: ModelTransaction, name: str, entry: float) -> int:
    log = _one(tx.rows("logs", name=name))
    if log is None:
        tx.insert("logs", {"name": name, "entries": [entry]})
        return 1
    tx.patch("logs", log, {"entries": [*log["entries"], entry]})
    return len(log["entries"]) + 1


def add_card(tx: ModelTransaction, column: str, rank: float, label: str) -> int:
    count = len(tx.rows("cards", column=column))
    tx.insert("cards", {"column": column, "rank": rank, "label": label})
    return count


def move_card(tx: ModelTransaction, source: str, target: str) -> str | None:
    card = _one(tx.rows("cards", "rank", column=source))
    if card is None:
        return None
    tx.patch("cards", card, {"column": target})
    return str(card["label"])


def rank_card(tx: ModelTransaction, column: str, rank: float) -> str | None:
    cards = tx.rows("cards", "rank", column=column)
    if not cards:
        return None
    tx.patch("cards", cards[-1], {"rank": rank})
    return str(cards[-1]["label"])


def drop_card(tx: ModelTransaction, column: str) -> str | None:
    card = _one(tx.rows("cards", "rank", column=column))
    if card is None:
        return None
    tx.delete("cards", card)
    return str(card["label"])


def tally(tx: ModelTransaction, column: str) -> int:
    count = len(tx.rows("cards", column=column))
    put(tx, f"tally {column}", count)
    return count


def transfer(tx: ModelTransaction, source: str, target: str, amount: float) -> float:
    payer, payee = tx.rows("accounts", owner=source)[0], tx.rows("accounts", owner=target)[0]
    left: float = payer["balance"] - amount
    if left < 0:
        raise ModelFailure({"code": "poor", "balance": payer["balance"]})
    tx.patch("accounts", payer, {"balance": left})
    tx.patch("accounts", payee, {"balance": payee["balance"] + amount})
    return left


def leave_shift(tx: ModelTransaction, team: str, person: str) -> bool:
    on_call = tx.rows("shifts", team=team, onCall=True)
    mine = _one([shift for shift in on_call if shift["person"] == person])
    if mine is None:
        return False
    if len(on_call) == 1:
        raise ModelFailure("nobody else is on call")
    tx.patch("shifts", mine, {"onCall": False})
    return True


def join_shift(tx: ModelTransaction, team: str, person: str) -> bool:
    mine = _one(tx.rows("shifts", team=team, person=person, onCall=False))
    if mine is None:
        return False
    tx.patch("shifts", mine, {"onCall": True})
    return True


def audit(tx: ModelTransaction) -> float:
    return total(tx.state)


def doomed(tx: ModelTransaction, name: str) -> None:
    raise ModelFailure("doomed")


def post(tx: ModelTransaction, topic: str, text: str) -> None:
    tx.insert("notices", {"topic": topic, "text": text})


MUTATIONS: Final[dict[str, Callable[..., Any]]] = {
    "set_up": set_up,
    "put": put,
    "increment": increment,
    "swap_if": swap_if,
    "append": append,
    "add_card": add_card,
    "move_card": move_card,
    "rank_card": rank_card,
    "drop_card": drop_card,
    "tally": tally,
    "transfer": transfer,
    "leave_shift": leave_shift,
    "join_shift": join_shift,
    "audit": audit,
    "doomed": doomed,
    "careful": increment,
    "post": post,
}


# -- queries --------------------------------------------------------------------------------------------------------


def register(state: State, name: str) -> float | None:
    found = _one(rows(state, "registers", name=name))
    return None if found is None else found["value"]


def odd(state: State, name: str) -> float | None:
    value = register(state, name)
    if value is not None and value % 2 == 0:
        raise ModelFailure({"even": value})
    return value


def all_registers(state: State) -> list[Any]:
    return [[row["name"], row["value"]] for row in rows(state, "registers")]


def log(state: State, name: str) -> list[float]:
    found = _one(rows(state, "logs", name=name))
    return [] if found is None else found["entries"]


def column(state: State, column: str) -> list[Document]:
    return rows(state, "cards", "rank", column=column)


def ranks(state: State, column: str, low: float, high: float) -> list[str]:
    return [row["label"] for row in rows(state, "cards", "rank", column=column) if low <= row["rank"] < high]


def top(state: State, column: str, count: int) -> list[Any]:
    return [[row["rank"], row["label"]] for row in reversed(rows(state, "cards", "rank", column=column))][: int(count)]


def first_card(state: State, column: str) -> Document | None:
    return _one(rows(state, "cards", "rank", column=column))


def richest(state: State, count: int) -> list[Any]:
    return [[row["owner"], row["balance"]] for row in reversed(rows(state, "accounts", "balance"))][: int(count)]


def total(state: State) -> float:
    return sum((row["balance"] for row in rows(state, "accounts")), 0.0)


def on_call(state: State, team: str) -> list[str]:
    return [row["person"] for row in rows(state, "shifts", team=team, onCall=True)]


def notices_of(state: State, topic: str) -> list[str]:
    return [row["text"] for row in rows(state, "notices", topic=topic)]


QUERIES: Final[dict[str, Callable[..., Any]]] = {
    "register": register,
    "odd": odd,
    "all_registers": all_registers,
    "log": log,
    "column": column,
    "ranks": ranks,
    "top": top,
    "first_card": first_card,
    "richest": richest,
    "total": total,
    "on_call": on_call,
    "notices_of": notices_of,
}

FOREIGN: Final = frozenset(("notices_of",))
"""Queries that read what other MongoDB clients write."""
