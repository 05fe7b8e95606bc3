"""JSON Web Key Sets: which of their keys may verify what (RFC 7517).

Only public keys of the three algorithms that are served are taken from a set; symmetric ones are never, so that no
public key can be mistaken for a shared secret. What else a set holds is passed over.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

RSA_BITS_MIN: Final = 2048

_ALGORITHMS: Final = {"RSA": "RS256", "EC P-256": "ES256", "OKP Ed25519": "EdDSA"}
"""By type and curve."""


class InvalidKeySet(Exception):
    """The text is no JSON Web Key Set."""


@dataclass(slots=True, frozen=True)
class VerificationKey:
    """A public key. It verifies signatures of its own algorithm, whatever a token says of itself."""

    kid: str | None
    algorithm: str
    key: Any


def parse_key_set(text: bytes) -> list[VerificationKey]:
    """The keys that can verify signatures. Raises `InvalidKeySet`."""
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidKeySet(f"it is not JSON: {error}") from None
    keys = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(keys, list):
        raise InvalidKeySet("it must be an object with an array `keys`")
    return [key for item in keys if isinstance(item, dict) and (key := _key(item)) is not None]


def _key(item: dict[str, Any]) -> VerificationKey | None:
    algorithm = _ALGORITHMS.get(f"{item.get('kty')} {item.get('crv', '')}".rstrip())
    if algorithm is None or item.get("use", "sig") != "sig" or item.get("alg", algorithm) != algorithm:
        return None
    public = {name: value for name, value in item.items() if name not in ("d", "p", "q", "dp", "dq", "qi", "oth")}
    try:
        key = jwt.PyJWK(public, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if isinstance(key, RSAPublicKey) and key.key_size < RSA_BITS_MIN:
        return None
    kid = item.get("kid")
    return VerificationKey(kid if isinstance(kid, str) else None, algorithm, key)


def find_key(keys: Sequence[VerificationKey], kid: str | None, algorithm: str) -> VerificationKey | None:
    """The key with that id; without an id, the only one of the algorithm."""
    fitting = [key for key in keys if key.algorithm == algorithm and (kid is None or key.kid == kid)]
    return fitting[0] if len(fitting) == 1 or (fitting and kid is not None) else None


def read_data_uri(uri: str) -> bytes:
    """What a `data:` URI holds. Raises `InvalidKeySet`."""
    head, comma, data = uri.removeprefix("data:").partition(",")
    if not comma:
        raise InvalidKeySet("the data: URI has no comma")
    raw = unquote_to_bytes(data)
    if not head.endswith(";base64"):
        return raw
    try:
        return base64.b64decode(raw, validate=True)
    except binascii.Error as error:
        raise InvalidKeySet(f"the data: URI is no base64: {error}") from None
