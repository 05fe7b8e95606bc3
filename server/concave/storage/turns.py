"""Turn-taking between nodes, so that they neither starve one another nor burn their commits on lost races.

The unique number of a log entry decides between nodes (I1 rests on that alone, and on nothing here). But whoever won
knows of its own entry some milliseconds before the others do, and would win again and again. So:

* A node that lost a race asks for a turn (`Store.ask_for_turn`), which reaches the others through their feeds.
* Each log entry names the nodes that commit next, in order: the **list**. The first in it has the **turn**. A turn is
  one batch; a node that has more to commit puts itself last again. While a node waits, its batch grows, and its
  functions run beside the others' commits: turns of several batches were measured to be slower (decision record 6).
* A node whose turn comes and which has nothing to commit passes the turn on, with an empty entry.
* A node that is second waits until it is first, or until the first has been silent for a term; the third waits two
  terms, and so on: a node that died, or was cut off, costs the others a term.
* With an empty list, which is the rule while nodes seldom meet, everybody commits at once and races are rare.

`Turns` is one node's view: it hears of entries and requests, and says how long to wait and what list to write. No I/O.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from concave.values.runtime import Runtime

IDLE_S: Final = 0.004
"""How long a node that has the turn may have nothing to commit before it passes the turn on."""

RERUN_S: Final = 0.08
"""The same for a node that lost a chain in the last `RECENTLY_S`: it runs again, and without this would lose again."""

RECENTLY_S: Final = 0.5

TERM_S: Final = 0.1
"""How long the node that has the turn may be silent. At least: slow commits make for longer terms."""

TERM_COMMITS: Final = 4.0
TERM_S_MAX: Final = 1.0
"""However slow commits are. One that waited for a new primary took seconds, and says nothing of those that follow."""

RACES_MAX: Final = 2
"""After so many races lost in a row a node waits for its turn, or for a pause, instead of trying its luck again."""


class Turns:
    """Whose turn it is, as far as this node knows. `on_turn` is called when it has become this node's."""

    def __init__(self, node: str, runtime: Runtime, on_turn: Callable[[], None] = lambda: None) -> None:
        self._node = node
        self._runtime = runtime
        self._on_turn = on_turn
        self._list: tuple[str, ...] = ()
        self._asked: dict[str, None] = {}
        """Who asked for a turn and is in no list yet, in order."""
        self._heard_s = runtime.monotonic()
        """When the newest entry was heard of."""
        self._races_lost = 0
        self._chain_lost_s = float("-inf")
        self._commit_s = 0.0
        self._changed = asyncio.Event()

    # -- what happens ----------------------------------------------------------------------------------------------

    def entry_published(self, node: str, turns: tuple[str, ...]) -> None:
        """A log entry of any node was published here."""
        self._list = turns
        self._heard_s = self._runtime.monotonic()
        for listed in turns:
            self._asked.pop(listed, None)
        if node == self._node:
            self._races_lost = 0
        self._asked.pop(node, None)
        self._changed.set()
        if turns and turns[0] == self._node:
            self._on_turn()

    def asked_for(self, node: str) -> None:
        """Another node wants a turn."""
        if node != self._node and node not in self._list:
            self._asked[node] = None

    def race_lost(self) -> None:
        """Another node was faster."""
        self._races_lost += 1

    def chain_lost(self) -> None:
        """Another node changed what a chain of this one rests on. Its members are run again at once; that takes longer
        than the other node needs for its next commit of the kind."""
        self._races_lost += 1
        self._chain_lost_s = self._runtime.monotonic()

    def committed_in(self, seconds: float) -> None:
        """How long an own commit took."""
        self._commit_s += (min(seconds, TERM_S_MAX / TERM_COMMITS) - self._commit_s) / 8

    def history_lost(self) -> None:
        """Entries may have been missed: nothing is known of turns."""
        self._list = ()
        self._changed.set()

    # -- what to do ------------------------------------------------------------------------------------------------

    @property
    def must_ask(self) -> bool:
        """Whether nobody can know that this node waits."""
        return self._races_lost > 0 and self._node not in self._list

    @property
    def is_waited_for(self) -> bool:
        """Whether it is this node's turn and others wait for it."""
        return len(self._list) > 1 and self._list[0] == self._node

    @property
    def idle_s(self) -> float:
        """How long to keep the turn with nothing to commit."""
        return RERUN_S if self._runtime.monotonic() - self._chain_lost_s < RECENTLY_S else IDLE_S

    def wait_s(self) -> float:
        """How long to wait before the next commit unless something happens; 0 or less: not at all."""
        if not self._list:
            places = 0 if self._races_lost < RACES_MAX else 1
        elif self._node in self._list:
            places = self._list.index(self._node)
        else:
            places = len(self._list)
        if places == 0:
            return 0.0
        return self._heard_s + places * self._term_s - self._runtime.monotonic()

    async def wait_changed(self, seconds: float) -> None:
        """Wait until an entry is published, at most so long."""
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    def next_list(self, *, more: bool) -> tuple[str, ...]:
        """The list for this node's next entry. `more`: it has something to commit, now or in a moment."""
        position = self._list.index(self._node) if self._node in self._list else len(self._list)
        # Those before this node have let their terms pass.
        waiting = tuple(dict.fromkeys((*self._list[position + 1 :], *self._asked)))
        return (*waiting, self._node) if waiting and more else waiting

    @property
    def _term_s(self) -> float:
        return max(TERM_S, TERM_COMMITS * self._commit_s)  # TERM_S_MAX by what is counted of a commit
