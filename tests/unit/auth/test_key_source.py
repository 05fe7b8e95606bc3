"""How often a provider is asked for its keys."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from concave.auth.json_web_keys import VerificationKey
from concave.auth.key_source import BURST, KEYS_AGE_S, KEYS_STALE_S, KeySource, KeysUnavailable
from concave.values.errors import OverloadError


class Keys:
    """What a provider has; `fetches` counts the asking. While `held` is unset, an answer does not come."""

    def __init__(self) -> None:
        self.kids = ["a"]
        self.fetches = 0
        self.is_down = False
        self.held = asyncio.Event()
        self.held.set()

    async def fetch(self) -> list[VerificationKey]:
        self.fetches += 1
        await self.held.wait()
        if self.is_down:
            raise KeysUnavailable("it is down")
        return [VerificationKey(kid, "RS256", None) for kid in self.kids]


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def source(keys: Keys, clock: Any) -> KeySource:
    return KeySource("https://issuer.test", keys.fetch, clock)


async def test_a_new_key_is_fetched_once_however_many_ask(source: KeySource, keys: Keys) -> None:
    await source.find("a", "RS256")
    keys.kids.append("b")
    keys.held.clear()
    waiting = [asyncio.create_task(source.find("b", "RS256")) for _ in range(50)]
    while keys.fetches < 2:
        await asyncio.sleep(0)
    waiting.pop().cancel()  # whoever began the fetch, or anybody else, may go away
    keys.held.set()
    assert all(key is not None for key in await asyncio.gather(*waiting))
    assert await source.find("b", "RS256")
    assert keys.fetches == 2


async def test_an_unknown_key_is_looked_for_once_in_a_while(source: KeySource, keys: Keys, clock: Any) -> None:
    for _ in range(20):
        assert await source.find("b", "RS256") is None
    assert keys.fetches == 1
    clock.passed_s += 61
    keys.kids.append("b")
    assert await source.find("b", "RS256")
    assert keys.fetches == 2


async def test_made_up_key_ids_do_not_hammer_the_provider(source: KeySource, keys: Keys, clock: Any) -> None:
    refused = unclear = 0
    for number in range(100):
        try:
            assert await source.find(f"made up {number}", "RS256") is None
            refused += 1
        except OverloadError:
            unclear += 1
    assert (refused, unclear, keys.fetches) == (BURST, 100 - BURST, BURST)
    assert await source.find("a", "RS256"), "keys that are known go on working"
    clock.passed_s += 31
    assert await source.find("another", "RS256") is None
    with pytest.raises(OverloadError):
        await source.find("yet another", "RS256")
    assert keys.fetches == BURST + 1


async def test_old_keys_are_renewed_and_do_for_a_while_when_that_fails(
    source: KeySource, keys: Keys, clock: Any
) -> None:
    await source.find("a", "RS256")
    clock.passed_s += KEYS_AGE_S + 1
    keys.is_down = True
    assert await source.find("a", "RS256")
    assert await source.find("a", "RS256")
    assert keys.fetches == 2
    clock.passed_s += KEYS_STALE_S
    with pytest.raises(OverloadError, match="it is down"):
        await source.find("a", "RS256")
    clock.passed_s += 60
    keys.is_down, keys.kids = False, ["b"]
    assert await source.find("a", "RS256") is None, "a key that was withdrawn"
