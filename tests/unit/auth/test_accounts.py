"""The built-in provider against a real database: accounts, sessions, guesses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pymongo
import pytest
from argon2 import PasswordHasher

from concave import password_provider
from concave.auth.accounts import GUESSES_PER_ACCOUNT, GUESSES_PER_ADDRESS, Accounts, open_accounts
from concave.auth.authenticator import Authenticator
from concave.auth.password_hashes import PasswordHashes
from concave.functions.auth_config import AuthConfig
from concave.storage.mongo import MongoStore
from concave.values.errors import ClientError
from concave.values.runtime import SystemRuntime

PASSWORD = "correct horse"
PROVIDER = password_provider()


@pytest.fixture
async def store(database_uri: str) -> AsyncIterator[MongoStore]:
    runtime = SystemRuntime()
    store = MongoStore(database_uri, runtime=runtime, node="test")
    await store.start()
    yield store
    await runtime.close()
    await store.close()


async def opened(store: MongoStore, address: str = "http://here.test", provider: Any = PROVIDER) -> Accounts:
    hashes = PasswordHashes(PasswordHasher(time_cost=1, memory_cost=64))
    return await open_accounts(store.auth_records(), provider, address, store._runtime, hashes)


@pytest.fixture
async def accounts(store: MongoStore) -> Accounts:
    return await opened(store)


async def refused(code: str, call: Any) -> ClientError:
    with pytest.raises(ClientError) as raised:
        await call
    assert raised.value.code == code
    return raised.value


async def test_sign_up_and_in(store: MongoStore, accounts: Accounts) -> None:
    first = await accounts.sign_up("  Ann@Example.org ", PASSWORD, "Ann  B", "1.2.3.4")
    second = await accounts.sign_in("ann@example.ORG", PASSWORD, "1.2.3.4")
    authenticator = Authenticator(None, store._runtime)
    authenticator.configure(AuthConfig((PROVIDER,)), accounts.trusted)
    one, two = await authenticator.user(first.token), await authenticator.user(second.token)
    assert one.identity == two.identity
    assert one.identity is not None
    assert one.identity["issuer"] == "http://here.test"
    assert (one.identity["name"], one.identity["email"]) == ("Ann B", "ann@example.org")
    assert first.token != second.token
    error = await refused("AccountExists", accounts.sign_up("ANN@example.org", PASSWORD, None, "1.2.3.4"))
    assert error.http_status == 409


async def test_all_nodes_have_the_same_key_and_issuer(store: MongoStore, accounts: Accounts) -> None:
    others = await asyncio.gather(*(opened(store, f"http://else{number}.test") for number in range(4)))
    assert {other.issuer for other in others} == {"http://here.test"}
    assert all(other.key_set() == accounts.key_set() for other in others)
    assert "d" not in accounts.key_set()["keys"][0]
    named = await opened(store, provider=password_provider(issuer="https://named.test"))
    assert named.issuer == "https://named.test"


async def test_what_is_refused(accounts: Accounts) -> None:
    await refused("PasswordTooShort", accounts.sign_up("ann", "short", None, "a"))
    await refused("PasswordTooLong", accounts.sign_up("ann", "x" * 300, None, "a"))
    await refused("InvalidLogin", accounts.sign_up("  ", PASSWORD, None, "a"))
    await refused("InvalidLogin", accounts.sign_up("a\nb", PASSWORD, None, "a"))
    await refused("InvalidName", accounts.sign_up("ann", PASSWORD, "x" * 200, "a"))
    await accounts.sign_up("ann", PASSWORD, None, "a")
    wrong = await refused("InvalidCredentials", accounts.sign_in("ann", "wrong password", "a"))
    unknown = await refused("InvalidCredentials", accounts.sign_in("nobody", PASSWORD, "a"))
    assert wrong.message == unknown.message
    assert wrong.http_status == 401


async def test_neither_passwords_nor_tokens_are_kept(accounts: Accounts, database_uri: str) -> None:
    pair = await accounts.sign_up("ann", PASSWORD, None, "a")
    with pymongo.MongoClient[dict[str, Any]](database_uri) as client:
        database = client.get_default_database()
        kept = str([list(database[name].find()) for name in ("_auth_accounts", "_auth_sessions")])
    assert PASSWORD not in kept
    assert pair.refresh_token.partition(".")[2] not in kept
    assert "$argon2id$" in kept


async def test_refresh_tokens_work_once(accounts: Accounts, database_uri: str) -> None:
    first = await accounts.sign_up("ann", PASSWORD, None, "a")
    second = await accounts.refresh(first.refresh_token)
    third = await accounts.refresh(second.refresh_token)
    assert len({first.token, second.token, third.token}) == 3
    await refused("InvalidRefreshToken", accounts.refresh(second.refresh_token))  # another tab's, a moment later
    fourth = await accounts.refresh(third.refresh_token)
    other = await accounts.sign_in("ann", PASSWORD, "a")
    # Older than a race can explain: it was copied.
    with pymongo.MongoClient[dict[str, Any]](database_uri) as client:
        sessions = client.get_default_database()["_auth_sessions"]
        sessions.update_many(
            {"replacedAt": {"$exists": True}},
            [{"$set": {"replacedAt": {"$subtract": ["$replacedAt", 60_000]}}}],
        )
    await refused("InvalidRefreshToken", accounts.refresh(third.refresh_token))
    await refused("InvalidRefreshToken", accounts.refresh(fourth.refresh_token))
    assert (await accounts.refresh(other.refresh_token)).token, "other sessions are not affected"


async def test_one_of_many_at_once_gets_the_next_token(accounts: Accounts) -> None:
    pair = await accounts.sign_up("ann", PASSWORD, None, "a")
    ends = await asyncio.gather(*(accounts.refresh(pair.refresh_token) for _ in range(8)), return_exceptions=True)
    won = [end for end in ends if not isinstance(end, BaseException)]
    assert len(won) == 1
    assert (await accounts.refresh(won[0].refresh_token)).token


async def test_sign_out(accounts: Accounts) -> None:
    pair = await accounts.sign_up("ann", PASSWORD, None, "a")
    await accounts.sign_out(pair.refresh_token)
    await refused("InvalidRefreshToken", accounts.refresh(pair.refresh_token))
    await accounts.sign_out(pair.refresh_token)
    for text in ("", "x.y", "é" * 32 + ".x"):
        await refused("InvalidRefreshToken", accounts.refresh(text))


async def test_an_expired_session(accounts: Accounts, database_uri: str) -> None:
    pair = await accounts.sign_up("ann", PASSWORD, None, "a")
    with pymongo.MongoClient[dict[str, Any]](database_uri) as client:
        change = [{"$set": {"expires": {"$subtract": ["$$NOW", 1]}}}]
        client.get_default_database()["_auth_sessions"].update_many({}, change)
    await refused("InvalidRefreshToken", accounts.refresh(pair.refresh_token))


async def test_guesses_at_one_account_are_bounded(accounts: Accounts) -> None:
    await accounts.sign_up("ann", PASSWORD, None, "a")
    for number in range(GUESSES_PER_ACCOUNT):
        await refused("InvalidCredentials", accounts.sign_in("ann", "wrong password", f"address {number}"))
    error = await refused("RateLimited", accounts.sign_in("Ann", PASSWORD, "another address"))
    assert error.http_status == 429
    await accounts.sign_up("bob", PASSWORD, None, "a")
    for _ in range(GUESSES_PER_ACCOUNT + 2):
        await accounts.sign_in("bob", PASSWORD, "b")


async def test_guesses_from_one_address_are_bounded(accounts: Accounts) -> None:
    records = accounts._records
    for _ in range(GUESSES_PER_ADDRESS):
        await records.count_guess("address a", 900)
    await refused("RateLimited", accounts.sign_in("ann", PASSWORD, "a"))
    await refused("RateLimited", accounts.sign_up("ann", PASSWORD, None, "a"))
    await accounts.sign_up("ann", PASSWORD, None, "b")


async def test_a_window_of_guesses_ends(accounts: Accounts) -> None:
    records = accounts._records
    assert [await records.count_guess("k", 0.0) for _ in range(3)] == [1, 1, 1]
    assert [await records.count_guess("l", 60.0) for _ in range(3)] == [1, 2, 3]


async def test_hashes_made_with_lower_costs_are_renewed(store: MongoStore, accounts: Accounts) -> None:
    await accounts.sign_up("ann", PASSWORD, None, "a")
    hashes = PasswordHashes(PasswordHasher(time_cost=2, memory_cost=64))
    later = await open_accounts(store.auth_records(), PROVIDER, "", store._runtime, hashes)
    await later.sign_in("ann", PASSWORD, "a")
    account = await store.auth_records().account("ann")
    assert account is not None
    assert "t=2" in account.hash
    await later.sign_in("ann", PASSWORD, "a")
