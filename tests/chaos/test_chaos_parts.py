"""The instruments of a chaos run: links that fail as told, plans that repeat, and checks that notice what is broken."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
try:
    from chaos import faults, invariants, links, report
    from chaos.workload import ACCOUNTS, BALANCE, Acknowledged, History
finally:
    sys.path.pop(0)


# Links


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[links.Network, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A network with a link from this process to a server that echoes, and a connection through it."""

    echo_ended = asyncio.Event()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1024):
                writer.write(data)
        await closed(writer)
        echo_ended.set()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    echo_port = server.sockets[0].getsockname()[1]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    async def choose() -> tuple[str, int]:
        return "echo", echo_port

    network = links.Network()
    network.know("stranger", SimpleNamespace(pid=1))
    network.know("us", SimpleNamespace(pid=os.getpid()))
    await network.listen("echo", port, choose)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(20):
            yield network, reader, writer
    finally:
        await closed(writer)
        await network.close()
        await echo_ended.wait()
        server.close()


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: bytes) -> None:
    writer.write(text)
    assert await reader.readexactly(len(text)) == text


async def test_a_silent_link_delivers_when_it_is_healed_what_was_sent_meanwhile() -> None:
    async with linked() as (network, reader, writer):
        await say(reader, writer, b"before")
        network.set([("us", "echo")], links.SILENT)
        writer.write(b"meanwhile")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)
        network.heal([("us", "echo")])
        assert await reader.readexactly(9) == b"meanwhile"


async def test_a_cut_link_resets_its_connections_and_those_of_others_stay() -> None:
    async with linked() as (network, reader, writer):
        await say(reader, writer, b"before")
        network.set([("stranger", "echo")], links.CUT)
        await say(reader, writer, b"not ours")
        network.set([("us", "echo")], links.CUT)
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)


async def test_a_slow_link_delays_both_ways_and_keeps_the_order() -> None:
    async with linked() as (network, reader, writer):
        await say(reader, writer, b"before")
        network.set([("us", "echo")], links.Slow(0.1))
        loop = asyncio.get_running_loop()
        began = loop.time()
        writer.write(b"one ")
        await asyncio.sleep(0.05)
        network.heal([("us", "echo")])
        writer.write(b"two")
        assert await reader.readexactly(7) == b"one two"
        assert loop.time() - began >= 0.1


# Plans


def test_a_seed_repeats_its_plan_and_every_kind_comes_before_any_comes_twice_over() -> None:
    kinds = list(faults.KINDS)
    planned = faults.plan(7, 600, kinds)
    assert planned == faults.plan(7, 600, kinds)
    assert planned != faults.plan(8, 600, kinds)
    assert {fault.kind for fault in planned[: len(kinds)]} == set(kinds)
    assert all(fault.at_s + fault.seconds <= 600 for fault in planned)
    assert any(later.at_s < earlier.at_s + earlier.seconds for earlier, later in pairwise(planned))


# Figures and checks


def ack(op: str, from_s: float, to_s: float, table: str = "messages") -> Acknowledged:
    return Acknowledged(op, table, from_s, to_s)


def test_unavailability_counts_from_the_fault_to_the_first_acknowledgement_after_its_end() -> None:
    fault = faults.Injected("kill-primary", "mongod-0", began_s=10.0, healed_s=12.0)
    acknowledged = [ack("a", 9.0, 9.9), ack("b", 9.5, 10.5), ack("c", 9.8, 14.0), ack("d", 14.1, 14.2)]
    figures = report.unavailability(fault, acknowledged, began_s=5.0)
    assert figures.at_s == 5.0
    assert figures.nobody_s == pytest.approx(3.5)
    assert figures.slowest_s == pytest.approx(4.0)


def contents(*, messages: dict[str, int], transfers: list[dict[str, Any]] | None = None) -> invariants.Contents:
    moved = transfers or []
    return invariants.Contents(
        {"messages": Counter(messages), "transfers": Counter(transfer["op"] for transfer in moved)},
        moved,
        dict.fromkeys(range(ACCOUNTS), float(BALANCE)),
        [1, 2, 3],
    )


def test_a_good_history_passes() -> None:
    history = History(acknowledged=[ack("a", 0, 1)], refused={"poor": "insufficient"})
    held = contents(messages={"a": 1, "sent but not answered": 1})
    assert invariants.check_history(history, held) == invariants.check_bank(held) == invariants.check_log(held) == []


@pytest.mark.parametrize(
    ("history", "messages", "invariant", "ops"),
    [
        (History(acknowledged=[ack("lost", 0, 1)]), {}, "I5", ("lost",)),
        (History(acknowledged=[ack("twice", 0, 1)]), {"twice": 2}, "I6", ("twice",)),
        (History(refused={"ghost": "insufficient"}), {"ghost": 1}, "I10", ("ghost",)),
        (History(failed={"failed": "Server Error"}), {}, "I6", ("failed",)),
        (History(broken=[{"broken": "torn", "op": "seen", "client": "c"}]), {}, "I2/I3/I4", ("seen",)),
    ],
)
def test_a_broken_history_is_noticed(
    history: History, messages: dict[str, int], invariant: str, ops: tuple[str, ...]
) -> None:
    found = invariants.check_history(history, contents(messages=messages))
    assert [(broken.invariant, broken.ops) for broken in found] == [(invariant, ops)]


def test_a_transfer_that_moved_no_money_is_noticed() -> None:
    transfer = {"op": "half done", "source": 0, "target": 1, "amount": 5}
    found = invariants.check_bank(contents(messages={}, transfers=[transfer]))
    assert [broken.ops for broken in found] == [("half done",), ("half done",)]


def test_a_gap_in_the_log_is_noticed() -> None:
    held = contents(messages={})
    held.log_numbers.remove(2)
    assert [broken.invariant for broken in invariants.check_log(held)] == ["I1"]
