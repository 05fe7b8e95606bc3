"""The `Convex-Client` header: `<name>-<semver>`, for instance `npm-1.48.0` (http-and-admin.md 1.6, 1.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from concave.values.errors import ClientError

_SHAPE = re.compile(r"^(?P<name>.+?)-(?P<version>\d+\.\d+\.\d+(?:[-+.][0-9A-Za-z.+-]*)?)$")

# The last versions that expect the encoded format when they name none.
_ENCODED_BY_DEFAULT = {"npm": (1, 4, 0), "python": (0, 4, 999)}

# Upstream's thresholds: up to the first version, clients are refused; up to the second, they are told to hurry.
_OUTDATED = {
    "npm": ((0, 19, 1), (0, 19, 1), "npm update convex"),
    "npm-cli": ((0, 19, 1), (0, 19, 1), "npm update convex"),
    "python": ((0, 0, 2), (0, 2, 0), "pip install --upgrade convex"),
    "rust": ((0, 0, 1), (0, 0, 1), "cargo update -p convex"),
}


@dataclass(slots=True, frozen=True)
class Deprecation:
    """`state` is `Unsupported` or `UpgradeRequired`. Clients print the message."""

    state: str
    message: str

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        return (
            (b"x-convex-deprecation-state", self.state.encode()),
            (b"x-convex-deprecation-message", self.message.encode()),
        )


@dataclass(slots=True, frozen=True)
class ClientVersion:
    """`number` is (major, minor, patch); a pre-release counts as its release."""

    name: str
    number: tuple[int, int, int]

    @property
    def default_format(self) -> str:
        """The value format of a request that names none."""
        last = _ENCODED_BY_DEFAULT.get(self.name)
        return "convex_encoded_json" if last is not None and self.number <= last else "json"

    @property
    def deprecation(self) -> Deprecation | None:
        """What is to be said about the client's age; None for nothing."""
        thresholds = _OUTDATED.get(self.name)
        if thresholds is None:
            return None
        unsupported, outdated, advice = thresholds
        named = f"The Convex {self.name} package at version {'.'.join(map(str, self.number))}"
        if self.number <= unsupported:
            return Deprecation("Unsupported", f"{named} is no longer supported. Update it: {advice}")
        if self.number <= outdated:
            return Deprecation("UpgradeRequired", f"{named} will soon be no longer supported. Update it: {advice}")
        return None


@lru_cache(maxsize=256)
def parse_client_version(header: bytes | None) -> ClientVersion | None:
    """None for no header and for versions that are no numbers; `ClientError` for a value without a dash."""
    if header is None:
        return None
    text = header.decode("latin-1")
    if "-" not in text:
        raise ClientError("InvalidClientVersion", f"The header Convex-Client must be <name>-<version>, not {text!r}.")
    match = _SHAPE.match(text)
    if match is None:
        return None
    major, minor, patch = re.findall(r"\d+", match["version"])[:3]
    return ClientVersion(match["name"], (int(major), int(minor), int(patch)))
