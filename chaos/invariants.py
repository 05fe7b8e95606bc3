"""What must hold when all faults are over: each function returns what is broken, with the operations concerned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.read_concern import ReadConcern

from chaos.workload import ACCOUNTS, BALANCE, History

TABLES: Final = ("transfers", "messages")


@dataclass(slots=True, frozen=True)
class Broken:
    """An invariant of ARCHITECTURE.md that does not hold."""

    invariant: str
    what: str
    ops: tuple[str, ...] = ()


@dataclass(slots=True, frozen=True)
class Contents:
    """What the database holds in the end."""

    applied: dict[str, Counter[str]]
    """How often each operation was applied, by table."""
    transfers: list[dict[str, Any]]
    balances: dict[int, float]
    log_numbers: list[int]


async def read(database: AsyncDatabase[dict[str, Any]]) -> Contents:
    """As a majority of the replica set has it, read past the servers."""

    async def all_of(table: str, *fields: str) -> list[dict[str, Any]]:
        collection = database.get_collection(table, read_concern=ReadConcern("majority"))
        return await collection.find({}, dict.fromkeys(fields, 1)).to_list(None)

    transfers = await all_of("transfers", "op", "source", "target", "amount")
    messages = await all_of("messages", "op")
    accounts = await all_of("accounts", "number", "balance")
    log = await all_of("_commits", "_id")
    return Contents(
        {
            "transfers": Counter(document["op"] for document in transfers),
            "messages": Counter(document["op"] for document in messages),
        },
        transfers,
        {int(account["number"]): account["balance"] for account in accounts},
        sorted(int(entry["_id"]) for entry in log),
    )


def check_history(history: History, contents: Contents) -> list[Broken]:
    """Acknowledged operations are there, none is twice, refused ones are not, and no client saw what may not be."""
    found: list[Broken] = []
    for table in TABLES:
        applied = contents.applied[table]
        lost = [ack.op for ack in history.acknowledged if ack.table == table and applied[ack.op] == 0]
        if lost:
            found.append(Broken("I5", f"{len(lost)} acknowledged operations are not in {table}", tuple(lost)))
        twice = [op for op, times in applied.items() if times > 1]
        if twice:
            found.append(Broken("I6", f"{len(twice)} operations were applied more than once in {table}", tuple(twice)))
        ghosts = [op for op in history.refused if applied[op]]
        if ghosts:
            found.append(Broken("I10", f"{len(ghosts)} refused operations were applied in {table}", tuple(ghosts)))
    for op, error in history.failed.items():
        found.append(Broken("I6", f"a client was told of a failure that it should not hear of: {error}", (op,)))
    for what in dict.fromkeys(report["broken"] for report in history.broken):
        these = [report for report in history.broken if report["broken"] == what]
        first = ", ".join(f"{name} {value}" for name, value in these[0].items() if name not in ("broken", "op"))
        ops = tuple(report["op"] for report in these if "op" in report)
        found.append(Broken("I2/I3/I4", f"{what}, {len(these)} times; first: {first}", ops))
    return found


def check_bank(contents: Contents) -> list[Broken]:
    """Money is neither made nor lost, and each account holds what the log of transfers says."""
    found: list[Broken] = []
    total = sum(contents.balances.values())
    if total != ACCOUNTS * BALANCE:
        found.append(Broken("I1", f"the accounts hold {total:g} and not {ACCOUNTS * BALANCE}"))
    expected = dict.fromkeys(range(ACCOUNTS), float(BALANCE))
    for transfer in contents.transfers:
        expected[int(transfer["source"])] -= transfer["amount"]
        expected[int(transfer["target"])] += transfer["amount"]
    for number, balance in expected.items():
        held = contents.balances.get(number)
        if held != balance:
            concerned = tuple(
                transfer["op"] for transfer in contents.transfers if number in (transfer["source"], transfer["target"])
            )
            found.append(
                Broken("I1", f"account {number} holds {held}; by its transfers it should hold {balance:g}", concerned)
            )
    return found


def check_log(contents: Contents) -> list[Broken]:
    """Log numbers have no gaps."""
    numbers = contents.log_numbers
    missing = set(range(numbers[0], numbers[-1] + 1)).difference(numbers) if numbers else set()
    return [Broken("I1", f"the commit log lacks the numbers {sorted(missing)[:20]}")] if missing else []


def check_views(differences: Sequence[dict[str, Any]]) -> list[Broken]:
    return [
        Broken("I7", f"a live query of {found.get('client')} differs from a fresh one: {found}")
        for found in differences
    ]


def check_stuck(pending: Sequence[dict[str, Any]], now_s: float) -> list[Broken]:
    return [
        Broken("I5", f"an operation has been waiting for {now_s - found['from'] / 1000:.0f} s", (found["op"],))
        for found in pending
    ]
