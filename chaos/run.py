"""One run: start the cluster and the clients, inject the plan, let everything heal, and look what holds."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from chaos import invariants
from chaos.cluster import DATABASE, Cluster
from chaos.faults import KINDS, SHORT_PLAN, inject_all, plan
from chaos.invariants import Broken
from chaos.report import Report, unavailability
from chaos.workload import ACCOUNTS, BALANCE, PROBES, History, Team, probe

FIRST_RESULTS_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 75.0
"""How long the last operations may take after all faults: the official client waits up to 24 s between attempts, and
takes a silent connection for dead after 60 s."""
COMPARE_TIMEOUT_S: Final = 45.0
CALM_S: Final = 3.0
"""Undisturbed work after the last fault."""


@dataclass(slots=True, frozen=True)
class Options:
    """`seconds` is how long faults come; None stands for the short plan. `pause_ms` lies between a client's calls."""

    seed: int
    seconds: float | None
    clients: int
    pause_ms: float
    kinds: list[str]


async def run(options: Options, directory: Path, told: Callable[[str], None]) -> Report:
    """The report of a run. Nothing that was started is left behind, whatever happens; logs stay in `directory`."""
    cluster = Cluster(directory)
    history = History()
    kinds = [kind for kind in options.kinds if kind != "step-clock" or cluster.server_with_clock is not None]
    not_injected = [KINDS[kind].text + ": libfaketime is not installed" for kind in options.kinds if kind not in kinds]
    planned = SHORT_PLAN if options.seconds is None else plan(options.seed, options.seconds, kinds)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(cluster.close)
        told("starting three mongods and three servers")
        await cluster.start()
        await _open_accounts(cluster)
        share = options.clients // len(cluster.front_ports)
        teams = [
            await stack.enter_async_context(
                Team.run(f"team{number}", f"http://127.0.0.1:{port}", share, options.pause_ms, history)
            )
            for number, port in enumerate(cluster.front_ports)
        ]
        for team in teams:
            await team.reply("ready", FIRST_RESULTS_TIMEOUT_S)
        for team in teams:
            team.tell("start")
        probe_url = f"http://127.0.0.1:{cluster.probe_port}"
        probes = [asyncio.create_task(probe(f"probe{number}", probe_url, history)) for number in range(PROBES)]
        stack.push_async_callback(_end, probes)
        began_s = time.monotonic()
        injected = await inject_all(cluster, planned, lambda text: told(f"{time.monotonic() - began_s:6.1f} s  {text}"))
        healed_s = time.monotonic()
        await asyncio.sleep(CALM_S)
        told("all healed; waiting for the clients")
        await _end(probes)
        broken = await _stop(teams)
        recovery_s = time.monotonic() - healed_s - CALM_S
        broken += invariants.check_views(await _differences(teams))
        contents = await invariants.read(cluster.client[DATABASE])
        broken += invariants.check_history(history, contents)
        broken += invariants.check_bank(contents)
        broken += invariants.check_log(contents)
        broken += [Broken("I5", surprise) for surprise in cluster.surprises]
    _remove_databases(cluster)
    acknowledged = sorted(history.acknowledged, key=lambda ack: ack.to_s)
    if not acknowledged:
        broken.append(Broken("I5", "no mutation was acknowledged at all"))
    return Report(
        seed=options.seed,
        seconds=healed_s - began_s,
        clients=share * len(teams),
        acknowledged=len(acknowledged),
        refused=len(history.refused),
        latency_p50_ms=statistics.median(1000 * (ack.to_s - ack.from_s) for ack in acknowledged) if acknowledged else 0,
        recovery_s=recovery_s,
        faults=[unavailability(fault, acknowledged, began_s) for fault in injected],
        failed_starts=cluster.failed_starts,
        not_injected=not_injected,
        broken=broken,
    )


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended


async def _open_accounts(cluster: Cluster) -> None:
    call = {"path": "bank:open_accounts", "args": {"count": ACCOUNTS, "balance": BALANCE}, "format": "json"}
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"http://127.0.0.1:{cluster.backends[0].port}/api/mutation", json=call)
    answer.raise_for_status()
    assert answer.json()["status"] == "success", answer.text


async def _stop(teams: list[Team]) -> list[Broken]:
    """Let every client end what it is doing; what it cannot end is stuck."""
    for team in teams:
        team.tell("stop")
    deadline_s = time.monotonic() + STOP_TIMEOUT_S
    stuck: list[dict[str, Any]] = []
    for team in teams:
        try:
            await team.reply("stopped", deadline_s - time.monotonic())
        except TimeoutError:
            team.tell("pending")
            stuck += await team.reply("pending", 10)
    return invariants.check_stuck(stuck, time.monotonic())


async def _differences(teams: list[Team]) -> list[dict[str, Any]]:
    for team in teams:
        team.tell("compare")
    return [found for team in teams for found in await team.reply("compared", COMPARE_TIMEOUT_S)]


def _remove_databases(cluster: Cluster) -> None:
    for name in cluster.members:
        shutil.rmtree(cluster.directory / f"{name}-data", ignore_errors=True)
