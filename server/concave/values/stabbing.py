"""Which ranges does a key lie in? A tree of ranges, and the compact sets of owners that go with it.

The tree is a treap (a search tree by `(low, high)`, a heap by priority) whose nodes also know the largest `high` below
them. A stab descends only where that lies above the key: it visits the paths from the root to the hits and one path
besides. n ranges, k hits: O(log n + k log(n/k)).

Why a treap: ranges come and go with every refresh of a live query, so the structure must change cheaply in place.
`sortedcontainers` keeps lists sorted but cannot carry the largest `high`; centred interval trees and priority search
trees reach O(log n + k), but rebalance by rebuilding. Priorities come from a counter that is scrambled (splitmix64),
not from a generator: runs repeat exactly, and no client can choose keys that unbalance the tree.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Generic, TypeAlias, TypeVar

T = TypeVar("T", bound=Hashable)


class _Many(set[T]):
    """Two owners or more. A type of its own, to be told from an owner that is itself a set (a frozen one)."""

    __slots__ = ()


# Nearly every interval has one owner, and a set of one takes 216 bytes: so one owner stands for itself.
Owners: TypeAlias = T | _Many[T] | None
"""No owner, the only owner, or a set of several."""


def add_owner(owners: Owners[T], owner: T) -> tuple[Owners[T], bool]:
    """The owners with one more, and whether it is new."""
    if owners is None:
        return owner, True
    if isinstance(owners, _Many):
        before = len(owners)
        owners.add(owner)
        return owners, len(owners) > before
    if owners == owner:
        return owners, False
    return _Many((owners, owner)), True


def discard_owner(owners: Owners[T], owner: T) -> tuple[Owners[T], bool]:
    """The owners without one, None if nobody is left, and whether it was there."""
    if owners is None:
        return None, False
    if isinstance(owners, _Many):
        if owner not in owners:
            return owners, False
        owners.remove(owner)
        return (owners if len(owners) > 1 else owners.pop()), True
    return (None, True) if owners == owner else (owners, False)


def collect_owners(owners: Owners[T], into: set[T]) -> None:
    """Add the owners to a set."""
    if isinstance(owners, _Many):
        into |= owners
    elif owners is not None:
        into.add(owners)


class RangeTree(Generic[T]):
    """Half-open ranges of byte strings, each with its owners. Equal ranges share a node."""

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root: _Node[T] | None = None

    @property
    def has_ranges(self) -> bool:
        """Whether any range is held."""
        return self._root is not None

    def add(self, low: bytes, high: bytes, owner: T) -> bool:
        """Add a pair of range and owner; False if it is there already."""
        node = self._find(low, high)
        if node is None:
            self._root = _insert(self._root, _Node(low, high, owner))
            return True
        node.owners, added = add_owner(node.owners, owner)
        return added

    def discard(self, low: bytes, high: bytes, owner: T) -> bool:
        """Remove a pair of range and owner; False if it is not there."""
        node = self._find(low, high)
        if node is None:
            return False
        node.owners, removed = discard_owner(node.owners, owner)
        if node.owners is None:
            self._root = _remove(self._root, low, high)
        return removed

    def stab(self, key: bytes, into: set[T]) -> None:
        """Add to `into` the owners of all ranges with `low <= key < high`."""
        stack = [self._root]
        while stack:
            node = stack.pop()
            if node is None or node.highest <= key:
                continue
            stack.append(node.left)
            if node.low <= key:
                stack.append(node.right)
                if key < node.high:
                    collect_owners(node.owners, into)

    def collect(self, into: set[T]) -> None:
        """Add to `into` the owners of all ranges."""
        stack = [self._root]
        while stack:
            node = stack.pop()
            if node is not None:
                collect_owners(node.owners, into)
                stack += (node.left, node.right)

    def _find(self, low: bytes, high: bytes) -> _Node[T] | None:
        node = self._root
        while node is not None and not (node.low == low and node.high == high):
            node = node.left if _before(low, high, node) else node.right
        return node


class _Node(Generic[T]):
    __slots__ = ("high", "highest", "left", "low", "owners", "priority", "right")

    def __init__(self, low: bytes, high: bytes, owner: T) -> None:
        self.low = low
        self.high = high
        self.highest = high
        self.left: _Node[T] | None = None
        self.right: _Node[T] | None = None
        self.priority = _next_priority()
        self.owners: Owners[T] = owner

    def update(self) -> None:
        """Compute `highest` anew, after a child changed."""
        highest = self.high
        if self.left is not None and self.left.highest > highest:
            highest = self.left.highest
        if self.right is not None and self.right.highest > highest:
            highest = self.right.highest
        self.highest = highest


def _before(low: bytes, high: bytes, node: _Node[T]) -> bool:
    return low < node.low or (low == node.low and high < node.high)


def _insert(tree: _Node[T] | None, new: _Node[T]) -> _Node[T]:
    if tree is None:
        return new
    if new.priority > tree.priority:
        new.left, new.right = _split(tree, new.low, new.high)
        new.update()
        return new
    if _before(new.low, new.high, tree):
        tree.left = _insert(tree.left, new)
    else:
        tree.right = _insert(tree.right, new)
    if new.high > tree.highest:
        tree.highest = new.high
    return tree


def _split(tree: _Node[T] | None, low: bytes, high: bytes) -> tuple[_Node[T] | None, _Node[T] | None]:
    """What sorts before `(low, high)`, and what after; it is not in the tree itself."""
    if tree is None:
        return None, None
    if _before(low, high, tree):
        left, tree.left = _split(tree.left, low, high)
        tree.update()
        return left, tree
    tree.right, right = _split(tree.right, low, high)
    tree.update()
    return tree, right


def _remove(tree: _Node[T] | None, low: bytes, high: bytes) -> _Node[T] | None:
    assert tree is not None, "removing a range that is not in the tree"
    if tree.low == low and tree.high == high:
        return _join(tree.left, tree.right)
    if _before(low, high, tree):
        tree.left = _remove(tree.left, low, high)
    else:
        tree.right = _remove(tree.right, low, high)
    tree.update()
    return tree


def _join(left: _Node[T] | None, right: _Node[T] | None) -> _Node[T] | None:
    """One tree of two, the first wholly before the second."""
    if left is None:
        return right
    if right is None:
        return left
    if left.priority > right.priority:
        left.right = _join(left.right, right)
        left.update()
        return left
    right.left = _join(left, right.left)
    right.update()
    return right


_MASK: Final = (1 << 64) - 1
_counter = 0


def _next_priority() -> int:
    """splitmix64 of a counter."""
    global _counter
    _counter = (_counter + 0x9E3779B97F4A7C15) & _MASK
    mixed = _counter
    mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & _MASK
    return mixed ^ mixed >> 31
