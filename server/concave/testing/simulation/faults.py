"""What may go wrong in one run, and how often.

Each seed switches kinds of trouble on and off (swarm testing): a run in which everything fails all the time finds less
than many runs with a few kinds of trouble each.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(slots=True, frozen=True)
class Faults:
    """Probabilities are per operation, times in (virtual) seconds."""

    store_delay_s: float = 0.003
    """Mean time that a request, and again its reply, is on its way."""
    network_delay_s: float = 0.005
    feed_delay_s: float = 0.004
    spike: float = 0.0
    """How often anything takes up to fifty times as long."""
    read_lost: float = 0.0
    append_lost: float = 0.0
    """The request never reaches the database; the store gives up."""
    append_unanswered: float = 0.0
    """The batch is committed; the store never hears of it and gives up."""
    append_late: float = 0.0
    """The store gives up while the request is still on its way to the database."""
    append_settled: float = 0.0
    """The batch is committed, the reply is lost, and the store finds out later."""
    write_conflict: float = 0.0
    """The database refuses a batch because of some other writer."""
    feed_stall: float = 0.0
    """The feed says nothing for up to eight seconds."""
    feed_break: float = 0.0
    """The feed raises an error."""
    feed_lost: float = 0.0
    """How often a second the database forgets its events: a feed that is behind gets a gap."""
    snapshot_lost: float = 0.0
    """How often a second the database forgets its older snapshots."""
    crash: float = 0.0
    """How often a second a node dies."""
    restart: float = 0.0
    """How often a second a node stops in good order."""
    cut: float = 0.0
    """How often a second a connection is lost."""
    slow_socket: float = 0.0
    """How often a Transition does not leave at once."""
    foreign: float = 0.0
    """How often a second another MongoDB client writes."""
    reload: float = 0.0
    """How often a second a node loads its app again."""
    clock_step: float = 0.0
    """How often a second a node's wall clock jumps."""


def draw_faults(random: Random) -> Faults:
    """The faults of one seed. About one run in six has none but delays."""
    busy = random.random() < 0.85

    def some(most: float, chance: float = 0.35) -> float:
        drawn = random.random() < chance
        share = random.random()
        return most * share if drawn and busy else 0.0

    return Faults(
        store_delay_s=random.choice((0.0005, 0.002, 0.006)),
        network_delay_s=random.choice((0.0005, 0.004, 0.02)),
        feed_delay_s=random.choice((0.0005, 0.004, 0.03)),
        spike=some(0.1, 0.6),
        read_lost=some(0.03, 0.2),
        append_lost=some(0.1),
        append_unanswered=some(0.1),
        append_late=some(0.1),
        append_settled=some(0.2),
        write_conflict=some(0.1),
        feed_stall=some(0.02),
        feed_break=some(0.05, 0.2),
        feed_lost=some(4.0),
        snapshot_lost=some(4.0, 0.2),
        crash=some(3.0, 0.5),
        restart=some(1.0, 0.2),
        cut=some(8.0, 0.5),
        slow_socket=some(0.5),
        foreign=some(20.0),
        reload=some(2.0, 0.2),
        clock_step=some(4.0, 0.2),
    )


CALM = Faults()
"""Delays and nothing else; what a run has at its end, so that it can come to rest."""
