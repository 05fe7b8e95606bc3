"""The keys of one provider, fetched when they are needed and no more often than that.

* Keys are kept for `KEYS_AGE_S`. While the provider cannot be reached, those it had are good for `KEYS_STALE_S`.
* A key id that is not among them makes one fetch, which all who wait share. An id that was not in the answer is
  refused for `UNKNOWN_S` without another fetch.
* Made-up ids cannot make us hammer the provider: `BURST` fetches, then one every `REFILL_S`. Beyond that the
  answer is that we cannot tell now, which is no refusal of the token.
* After a failed fetch there is none for a while, doubling from `RETRY_S` to `RETRY_S_MAX`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from concave.auth.json_web_keys import InvalidKeySet, VerificationKey, find_key, parse_key_set, read_data_uri
from concave.values.errors import OverloadError, unauthenticated
from concave.values.runtime import Runtime

logger = logging.getLogger(__name__)

KEYS_AGE_S: Final = 3600.0
KEYS_STALE_S: Final = 24 * 3600.0
UNKNOWN_S: Final = 60.0
UNKNOWN_MAX: Final = 1_000
BURST: Final = 5
REFILL_S: Final = 30.0
RETRY_S: Final = 1.0
RETRY_S_MAX: Final = 30.0

FetchKeys = Callable[[], Awaitable[Sequence[VerificationKey]]]
"""Gets the provider's keys. Raises `KeysUnavailable`."""


class KeysUnavailable(Exception):
    """The provider did not answer, or not with keys; the text says what happened."""


class Keys(Protocol):
    """The keys of one provider."""

    async def find(self, kid: str | None, algorithm: str) -> VerificationKey | None:
        """The key, None if the provider has no such key."""


class InlineKeys:
    """The keys that a `data:` URI in the configuration holds."""

    __slots__ = ("_fault", "_keys")

    def __init__(self, uri: str) -> None:
        self._keys: Sequence[VerificationKey] = ()
        self._fault = ""
        try:
            self._keys = parse_key_set(read_data_uri(uri))
        except InvalidKeySet as error:
            self._fault = f"The key set in the data: URI of auth_config.py cannot be read: {error}."

    async def find(self, kid: str | None, algorithm: str) -> VerificationKey | None:
        """As `Keys.find`. Raises `ClientError` 401 `InvalidAuthHeader` for a URI that holds no key set."""
        if self._fault:
            raise unauthenticated("InvalidAuthHeader", self._fault)
        return find_key(self._keys, kid, algorithm)


class KeySource:
    """`issuer` is for messages."""

    __slots__ = (
        "_allowance",
        "_allowance_at",
        "_failure",
        "_failures",
        "_fetch",
        "_fetched_at",
        "_flight",
        "_issuer",
        "_keys",
        "_retry_at",
        "_runtime",
        "_unknown",
    )

    def __init__(self, issuer: str, fetch: FetchKeys, runtime: Runtime) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._runtime = runtime
        self._keys: Sequence[VerificationKey] = ()
        self._fetched_at: float | None = None
        self._flight: asyncio.Task[None] | None = None
        self._failure = ""
        self._failures = 0
        self._retry_at = 0.0
        self._unknown: OrderedDict[tuple[str | None, str], float] = OrderedDict()
        """Key ids that were in no answer, and until when that is believed."""
        self._allowance = float(BURST)
        self._allowance_at = runtime.monotonic()

    async def find(self, kid: str | None, algorithm: str) -> VerificationKey | None:
        """The key, None if the provider has no such key. Raises `OverloadError` (`AuthProviderDiscoveryFailed`)."""
        now = self._runtime.monotonic()
        key = find_key(self._keys, kid, algorithm)
        age = None if self._fetched_at is None else now - self._fetched_at
        if age is not None and age <= KEYS_AGE_S:
            if key is not None:
                return key
            if self._unknown.get((kid, algorithm), now) > now:
                return None
        if self._flight is None and not self._may_fetch(now):
            if key is not None and age is not None and age <= KEYS_STALE_S:
                return key
            raise self._unreachable()
        if not await self._refresh():
            if key is not None and age is not None and age <= KEYS_STALE_S:
                return key
            raise self._unreachable()
        key = find_key(self._keys, kid, algorithm)
        if key is None:
            self._unknown[kid, algorithm] = self._runtime.monotonic() + UNKNOWN_S
            self._unknown.move_to_end((kid, algorithm))
            if len(self._unknown) > UNKNOWN_MAX:
                self._unknown.popitem(last=False)
        return key

    def _may_fetch(self, now: float) -> bool:
        """Whether a fetch may be made now; counts it if so."""
        if now < self._retry_at:
            return False
        self._allowance = min(BURST, self._allowance + (now - self._allowance_at) / REFILL_S)
        self._allowance_at = now
        if self._allowance < 1:
            self._failure = "it was asked for its keys too often of late"
            return False
        self._allowance -= 1
        return True

    async def _refresh(self) -> bool:
        """Wait for the fetch under way, or for one that is begun here. Returns whether there are new keys."""
        flight = self._flight
        if flight is None:
            flight = self._flight = self._runtime.spawn(self._run_fetch(), name=f"keys of {self._issuer}")
        # Whoever waits may be gone before the others.
        await asyncio.shield(flight)
        return not self._failures

    async def _run_fetch(self) -> None:
        try:
            keys = await self._fetch()
        except KeysUnavailable as error:
            self._failures += 1
            self._failure = str(error)
            delay = min(RETRY_S_MAX, RETRY_S * 2 ** (self._failures - 1))
            self._retry_at = self._runtime.monotonic() + delay
            logger.warning("the keys of %s cannot be had: %s", self._issuer, error)
        else:
            self._failures, self._failure, self._retry_at = 0, "", 0.0
            self._keys, self._fetched_at = keys, self._runtime.monotonic()
            self._unknown.clear()
        finally:
            self._flight = None

    def _unreachable(self) -> OverloadError:
        reason = self._failure or "it cannot be reached"
        return OverloadError(
            "AuthProviderDiscoveryFailed",
            f"The keys of the auth provider {self._issuer} cannot be had at the moment: {reason}.",
        )
