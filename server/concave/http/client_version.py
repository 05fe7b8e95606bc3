"""The `Convex-Client` header: `<name>-<semver>`, for instance `npm-1.48.0` (http-and-admin.md 1.6, 1.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from concave.values.errors import ClientError

_SHAPE = re.compile(r"^(?P<name>.+?)-(?P<version>\d+\.\d+\.\d+(?:[-+.][0-9A-Za-z.+-]*)?)$")

# The last versions that expect the encoded format when they name none.
_ENCODED_BY_DEFAULT = {"npm": (1, 4, 0), "python": (0, 4, 999)}


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
