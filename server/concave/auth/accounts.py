"""The built-in provider of accounts and sessions, for apps that bring none (`password_provider()` in auth_config.py).

* A sign-in begins a session and gives two tokens: a JWT for an hour, which the same machinery verifies that verifies
  other providers' tokens, and a refresh token, which is exchanged for the next pair and works once.
* A refresh token that comes a second time was copied: its session ends, for the thief and the owner alike. Only within
  `storage.auth_records.RACE_S` of the exchange it is merely refused, since tabs of one browser race each other.
* Only hashes of refresh tokens and passwords are kept.
* Guesses are counted per account and per address before anything is computed. An account unknown takes as long to
  refuse as a wrong password, and is refused in the same words.
* A JWT that was issued stays good until it expires, after a sign-out, too.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from concave.auth.claims import oidc_identity
from concave.auth.json_web_keys import VerificationKey
from concave.auth.key_source import KeySource, KeysUnavailable
from concave.auth.password_hashes import PasswordHashes
from concave.auth.tokens import TrustedIssuer
from concave.functions.auth_config import PasswordProvider
from concave.storage.auth_records import AccountRecord, AuthRecords, Rotation
from concave.values.errors import ClientError, OverloadError, unauthenticated
from concave.values.runtime import Runtime

logger = logging.getLogger(__name__)

AUDIENCE: Final = "concave"
ALGORITHM: Final = "EdDSA"
LOGIN_LENGTH_MAX: Final = 254
NAME_LENGTH_MAX: Final = 100
PASSWORD_LENGTH_MAX: Final = 256
GUESS_WINDOW_S: Final = 15 * 60.0
GUESSES_PER_ACCOUNT: Final = 10
GUESSES_PER_ADDRESS: Final = 100

_SECRET_BYTES: Final = 32
_FAMILY_BYTES: Final = 16


@dataclass(slots=True, frozen=True)
class TokenPair:
    """`expires_ms`: when the access token expires, in milliseconds since 1970."""

    token: str
    refresh_token: str
    expires_ms: float


class Accounts:
    """The provider of one deployment; `open_accounts` makes it."""

    def __init__(
        self,
        records: AuthRecords,
        provider: PasswordProvider,
        issuer: str,
        kid: str,
        key: Ed25519PrivateKey,
        runtime: Runtime,
        hashes: PasswordHashes,
    ) -> None:
        self._records = records
        self.provider = provider
        self._kid = kid
        self._key = key
        self._runtime = runtime
        self._hashes = hashes
        self.issuer = issuer
        self.trusted = TrustedIssuer(
            issuer,
            AUDIENCE,
            (ALGORITHM,),
            KeySource(issuer, self._public_keys, runtime),
            False,
            oidc_identity,
            f"password_provider(issuer={issuer})",
        )

    async def sign_up(self, login: str, password: str, name: str | None, address: str) -> TokenPair:
        """Open an account and begin a session.

        Raises `ClientError`: 400 `InvalidLogin`, `InvalidName`, `PasswordTooShort`, `PasswordTooLong`; 409
        `AccountExists`; 429 `RateLimited`.
        """
        await self._count(f"address {address}", GUESSES_PER_ADDRESS)
        login = _normalised(login)
        name = login if name is None else " ".join(name.split())
        if not 0 < len(name) <= NAME_LENGTH_MAX:
            raise ClientError("InvalidName", f"A name has 1 to {NAME_LENGTH_MAX} characters.")
        if len(password) < self.provider.password_length_min:
            raise ClientError(
                "PasswordTooShort", f"A password has at least {self.provider.password_length_min} characters."
            )
        _check_length(password)
        subject = self._runtime.random_bytes(_FAMILY_BYTES).hex()
        account = AccountRecord(login, subject, name, await self._hashes.hash(password))
        if not await self._records.add_account(account):
            raise ClientError("AccountExists", "There is an account of that name already: sign in.", 409)
        return await self._begin(account)

    async def sign_in(self, login: str, password: str, address: str) -> TokenPair:
        """Begin a session. Raises `ClientError`: 401 `InvalidCredentials`, 429 `RateLimited`."""
        await self._count(f"address {address}", GUESSES_PER_ADDRESS)
        login = _normalised(login)
        _check_length(password)
        await self._count(f"account {login}", GUESSES_PER_ACCOUNT)
        account = await self._records.account(login)
        is_right = await self._hashes.verify(None if account is None else account.hash, password)
        if account is None or not is_right:
            raise unauthenticated("InvalidCredentials", "The name or the password is wrong.")
        await self._records.forget_guesses(f"account {login}")
        if self._hashes.is_outdated(account.hash):
            await self._records.change_hash(login, await self._hashes.hash(password))
        return await self._begin(account)

    async def refresh(self, refresh_token: str) -> TokenPair:
        """The next pair for a refresh token. Raises `ClientError`: 401 `InvalidRefreshToken`."""
        family, token_hash = _parse(refresh_token)
        fresh, fresh_hash = self._new_refresh_token(family)
        rotation, login = await self._records.rotate(family, token_hash, fresh_hash, self.provider.refresh_s)
        if rotation is Rotation.REUSED:
            logger.warning("the refresh token of a session came a second time; the session is ended")
        account = await self._records.account(login) if rotation is Rotation.DONE else None
        if account is None:
            raise unauthenticated("InvalidRefreshToken", "The session has ended, or its token was used: sign in again.")
        return self._pair(account, fresh)

    async def sign_out(self, refresh_token: str) -> None:
        """End the session of the token, if there is one."""
        family, token_hash = _parse(refresh_token)
        await self._records.end_session(family, token_hash)

    def key_set(self) -> dict[str, Any]:
        """The public key, as a JSON Web Key Set."""
        public = jwt.get_algorithm_by_name(ALGORITHM).to_jwk(self._key.public_key(), as_dict=True)
        return {"keys": [{**public, "kid": self._kid, "use": "sig", "alg": ALGORITHM}]}

    async def _public_keys(self) -> Sequence[VerificationKey]:
        try:
            stored = await self._records.setting("signing key", {"kid": self._kid, "private": _raw(self._key)})
        except OverloadError as error:
            raise KeysUnavailable(error.message) from None
        key = Ed25519PrivateKey.from_private_bytes(stored["private"])
        return [VerificationKey(stored["kid"], ALGORITHM, key.public_key())]

    async def _begin(self, account: AccountRecord) -> TokenPair:
        family = self._runtime.random_bytes(_FAMILY_BYTES).hex()
        token, token_hash = self._new_refresh_token(family)
        await self._records.begin_session(family, account, token_hash, self.provider.refresh_s)
        return self._pair(account, token)

    def _new_refresh_token(self, family: str) -> tuple[str, str]:
        """A token of the session, and the hash that is kept of it."""
        secret = base64.urlsafe_b64encode(self._runtime.random_bytes(_SECRET_BYTES)).decode().rstrip("=")
        return f"{family}.{secret}", _hash(secret)

    def _pair(self, account: AccountRecord, refresh_token: str) -> TokenPair:
        now_s = int(self._runtime.now_ms() / 1000)
        expires_s = now_s + int(self.provider.access_s)
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": account.subject,
            "aud": AUDIENCE,
            "iat": now_s,
            "exp": expires_s,
            # Clients take a token for a new one only if it differs from the last.
            "jti": self._runtime.random_bytes(8).hex(),
            "name": account.name,
            "preferred_username": account.login,
        }
        if "@" in account.login:
            claims |= {"email": account.login, "email_verified": False}
        token = jwt.encode(claims, self._key, ALGORITHM, {"kid": self._kid})
        return TokenPair(token, refresh_token, expires_s * 1000.0)

    async def _count(self, key: str, count_max: int) -> None:
        if await self._records.count_guess(key, GUESS_WINDOW_S) > count_max:
            minutes = int(GUESS_WINDOW_S / 60)
            raise ClientError("RateLimited", f"Too many attempts: try again in {minutes} minutes.", 429)


async def open_accounts(
    records: AuthRecords,
    provider: PasswordProvider,
    address: str,
    runtime: Runtime,
    hashes: PasswordHashes | None = None,
) -> Accounts:
    """The deployment's provider: with the key that its database keeps, made at the first start, and the issuer that
    `provider` names, else the `address` of the first start."""
    await records.prepare()
    fresh = Ed25519PrivateKey.from_private_bytes(runtime.random_bytes(32))
    proposed = {"kid": runtime.random_bytes(8).hex(), "private": _raw(fresh)}
    stored = await records.setting("signing key", proposed)
    key = Ed25519PrivateKey.from_private_bytes(stored["private"])
    issuer = provider.issuer or (await records.setting("issuer", {"value": address}))["value"]
    return Accounts(records, provider, issuer, stored["kid"], key, runtime, hashes or PasswordHashes())


def _normalised(login: str) -> str:
    """One spelling of a login, whatever the case and form in which it is typed."""
    text = unicodedata.normalize("NFKC", login).casefold().strip()
    if not 0 < len(text) <= LOGIN_LENGTH_MAX or not text.isprintable():
        raise ClientError("InvalidLogin", f"A login is a name or an e-mail address of 1 to {LOGIN_LENGTH_MAX} letters.")
    return text


def _check_length(password: str) -> None:
    if len(password) > PASSWORD_LENGTH_MAX:
        raise ClientError("PasswordTooLong", f"A password has at most {PASSWORD_LENGTH_MAX} characters.")


def _parse(refresh_token: str) -> tuple[str, str]:
    family, dot, secret = refresh_token.partition(".")
    if not dot or len(family) != 2 * _FAMILY_BYTES or len(secret) > 2 * _SECRET_BYTES:
        raise unauthenticated("InvalidRefreshToken", "This is no refresh token.")
    return family, _hash(secret)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _raw(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes_raw()
