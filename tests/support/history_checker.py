"""Is a recorded history serializable? Dependencies between transactions, and a search for cycles, as Elle does.

A transaction is a list of reads and appends on keys; an append's value is used once in a history. A read of a list
tells in what order its values came: so the order of versions is observed, not assumed (Kingsbury and Alvaro, "Elle",
2020). A register is the list of what it held, of which a read sees the last value only: `from_registers` finds the
order from transactions that read what they overwrite.

Edges: ww (overwrites what the other wrote), wr (reads what the other wrote), rw (overwrites what the other read). The
names of anomalies are Adya's: G0 is a cycle of ww; G1a a read of what was never committed; G1b of what was not final;
G1c a cycle of ww and wr; G-single a cycle with one rw (lost update, read skew); G2 one with several (write skew).

It proves nothing: a history without anomaly may come from a database that has them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from typing import Literal


class Outcome(Enum):
    COMMITTED = "committed"
    FAILED = "failed"
    """Surely not committed."""
    UNKNOWN = "unknown"
    """No answer came: it may have been committed, and was if anybody has read what it wrote."""


@dataclass(frozen=True)
class Append:
    key: str
    value: int


@dataclass(frozen=True)
class Read:
    key: str
    values: tuple[int, ...]


@dataclass(frozen=True)
class Transaction:
    name: str
    operations: tuple[Append | Read, ...]
    outcome: Outcome = Outcome.COMMITTED


Edge = Literal["ww", "wr", "rw"]


@dataclass(frozen=True)
class Anomaly:
    """`kind` is Adya's name, or `order` (reads that contradict each other) or `internal` (a transaction that
    contradicts itself). `story` names the transactions."""

    kind: str
    story: str


@dataclass
class _Graph:
    edges: dict[str, dict[str, set[Edge]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(set)))

    def add(self, source: str, target: str, edge: Edge) -> None:
        if source != target:
            self.edges[source][target].add(edge)

    def cycle(self, kinds: set[Edge], first: Edge | None = None) -> list[str] | None:
        """A shortest cycle over edges of these kinds; with `first`, one that begins with such an edge."""
        for source in self.edges:
            for target, held in self.edges[source].items():
                if (held & kinds if first is None else first in held) and (
                    path := self._path(target, source, kinds)
                ) is not None:
                    return [source, *path]
        return None

    def _path(self, source: str, target: str, kinds: set[Edge]) -> list[str] | None:
        came: dict[str, str | None] = {source: None}
        queue = [source]
        for node in queue:
            if node == target:
                path: list[str] = []
                step: str | None = node
                while step is not None:
                    path.append(step)
                    step = came[step]
                return path[::-1]
            for following, held in self.edges.get(node, {}).items():
                if following not in came and held & kinds:
                    came[following] = node
                    queue.append(following)
        return None


def check(history: Sequence[Transaction]) -> list[Anomaly]:
    """Every kind of anomaly found, one example of each cycle; empty if none was."""
    anomalies: list[Anomaly] = []
    writers = {
        (operation.key, operation.value): transaction
        for transaction in history
        for operation in transaction.operations
        if isinstance(operation, Append)
    }
    committed = _committed(history, writers)
    for transaction in committed:
        anomalies += _contradictions(transaction)
        anomalies += _bad_reads(transaction, writers)
    orders, contradictions = _orders(committed)
    if contradictions or anomalies:
        return [*anomalies, *contradictions]
    graph = _graph(committed, orders, writers)
    kinds: list[tuple[str, set[Edge], Edge | None]] = [
        ("G0", {"ww"}, None),
        ("G1c", {"ww", "wr"}, "wr"),
        ("G-single", {"ww", "wr"}, "rw"),
        ("G2", {"ww", "wr", "rw"}, "rw"),
    ]
    for kind, edges, first in kinds:
        cycle = graph.cycle(edges, first)
        if cycle is not None:
            return [Anomaly(kind, _story(graph, cycle))]
    return []


def from_registers(history: Iterable[tuple[str, Sequence[tuple[str, str, int]], Outcome]]) -> list[Transaction]:
    """Transactions on registers, as (name, [("read" or "write", key, value)], outcome), as transactions on lists.

    A value is written once; 0 is what a register holds at first. A transaction must read a key before it writes it, so
    that the order of versions is known: two that overwrite one version are a lost update, and become reads that
    contradict each other.
    """
    given = list(history)
    before: dict[tuple[str, int], int] = {}
    for _, operations, outcome in given:
        held: dict[str, int] = {}
        for what, key, value in operations:
            if what == "write" and outcome is not Outcome.FAILED:
                before[key, value] = held[key]
            held[key] = value

    def line(key: str, value: int) -> tuple[int, ...]:
        values: list[int] = []
        while value and value not in values:
            values.append(value)
            value = before.get((key, value), 0)
        return tuple(reversed(values))

    return [
        Transaction(
            name,
            tuple(
                Read(key, line(key, value)) if what == "read" else Append(key, value) for what, key, value in operations
            ),
            outcome,
        )
        for name, operations, outcome in given
    ]


def _committed(history: Sequence[Transaction], writers: dict[tuple[str, int], Transaction]) -> list[Transaction]:
    """What was committed: known to be, or seen by somebody whose commit is known."""
    seen = {
        writers[operation.key, value].name
        for transaction in history
        if transaction.outcome is Outcome.COMMITTED
        for operation in transaction.operations
        if isinstance(operation, Read)
        for value in operation.values
        if (operation.key, value) in writers
    }
    return [
        transaction
        for transaction in history
        if transaction.outcome is Outcome.COMMITTED
        or (transaction.outcome is Outcome.UNKNOWN and transaction.name in seen)
    ]


def _contradictions(transaction: Transaction) -> list[Anomaly]:
    """A transaction's reads must show its earlier reads and appends of the key."""
    known: dict[str, tuple[int, ...]] = {}
    own: dict[str, list[int]] = defaultdict(list)
    for operation in transaction.operations:
        key = operation.key
        if isinstance(operation, Append):
            own[key].append(operation.value)
            if key in known:
                known[key] = (*known[key], operation.value)
        elif key in known and operation.values != known[key]:
            return [Anomaly("internal", f"{transaction.name} read {operation.values} of {key}, not {known[key]}")]
        elif own[key] and operation.values[-len(own[key]) :] != tuple(own[key]):
            return [Anomaly("internal", f"{transaction.name} does not see its own {own[key]} in {operation.values}")]
        else:
            known[key] = operation.values
    return []


def _bad_reads(transaction: Transaction, writers: dict[tuple[str, int], Transaction]) -> list[Anomaly]:
    for operation in transaction.operations:
        if isinstance(operation, Append):
            continue
        for value in operation.values:
            writer = writers.get((operation.key, value))
            if writer is None or writer.outcome is Outcome.FAILED:
                who = "nobody" if writer is None else f"{writer.name}, which failed"
                return [Anomaly("G1a", f"{transaction.name} read {value} of {operation.key}, written by {who}")]
        if operation.values:
            last = operation.values[-1]
            writer = writers[operation.key, last]
            appended = [o.value for o in writer.operations if isinstance(o, Append) and o.key == operation.key]
            if writer is not transaction and last != appended[-1]:
                return [
                    Anomaly(
                        "G1b",
                        f"{transaction.name} read {operation.key} up to {last}; {writer.name} went on to {appended}",
                    )
                ]
    return []


def _orders(committed: Sequence[Transaction]) -> tuple[dict[str, tuple[int, ...]], list[Anomaly]]:
    """The longest list read of each key; every other one must be its beginning."""
    orders: dict[str, tuple[int, ...]] = {}
    reads = [(o, t) for t in committed for o in t.operations if isinstance(o, Read)]
    for operation, _ in reads:
        if len(operation.values) > len(orders.get(operation.key, ())):
            orders[operation.key] = operation.values
    for operation, transaction in reads:
        order = orders.get(operation.key, ())
        if operation.values != order[: len(operation.values)] or len(set(operation.values)) < len(operation.values):
            story = f"{transaction.name} read {operation.values} of {operation.key}, somebody else {order}"
            return orders, [Anomaly("order", story)]
    return orders, []


def _graph(
    committed: Sequence[Transaction],
    orders: dict[str, tuple[int, ...]],
    writers: dict[tuple[str, int], Transaction],
) -> _Graph:
    graph = _Graph()
    unseen: dict[str, list[str]] = defaultdict(list)
    for transaction in committed:
        for operation in transaction.operations:
            if isinstance(operation, Append) and operation.value not in orders.get(operation.key, ()):
                unseen[operation.key].append(transaction.name)
    for key, order in orders.items():
        names = [writers[key, value].name for value in order]
        for earlier, later in pairwise(names):
            graph.add(earlier, later, "ww")
        for late in unseen[key]:
            # Appended, and in nobody's view: after everything that anybody saw.
            if names:
                graph.add(names[-1], late, "ww")
    for transaction in committed:
        own: dict[str, int] = defaultdict(int)
        for operation in transaction.operations:
            key = operation.key
            if isinstance(operation, Append):
                own[key] += 1
                continue
            order = orders.get(key, ())
            length = len(operation.values) - own[key]
            if length:
                graph.add(writers[key, operation.values[length - 1]].name, transaction.name, "wr")
            following = [writers[key, value].name for value in order[length:]]
            for name in [name for name in following if name != transaction.name][:1] or (
                unseen[key] if not following else ()
            ):
                graph.add(transaction.name, name, "rw")
    return graph


def _story(graph: _Graph, cycle: list[str]) -> str:
    steps = [
        f"{source} -{'/'.join(sorted(graph.edges[source][target]))}-> {target}" for source, target in pairwise(cycle)
    ]
    return ", ".join(steps)
