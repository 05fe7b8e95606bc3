"""Password hashing: Argon2id with the library's recommended costs, off the event loop."""

from __future__ import annotations

import asyncio
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

AT_ONCE_MAX: Final = 2
"""Hashes computed at the same time: each takes 64 MiB and a core for some 50 ms."""


class PasswordHashes:
    """Hashes passwords, and verifies them against hashes."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = PasswordHasher() if hasher is None else hasher
        self._permits = asyncio.Semaphore(AT_ONCE_MAX)
        self._nobodys: str | None = None

    async def hash(self, password: str) -> str:
        async with self._permits:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, hash: str | None, password: str) -> bool:
        """Whether it is the password. Without a hash the answer is no, and takes as long."""
        if hash is None:
            if self._nobodys is None:
                self._nobodys = await self.hash("nobody's password")
            await self._matches(self._nobodys, password)
            return False
        return await self._matches(hash, password)

    def is_outdated(self, hash: str) -> bool:
        """Whether the hash was made with lower costs than are usual now."""
        return self._hasher.check_needs_rehash(hash)

    async def _matches(self, hash: str, password: str) -> bool:
        async with self._permits:
            try:
                return await asyncio.to_thread(self._hasher.verify, hash, password)
            except (Argon2Error, InvalidHashError):
                return False
