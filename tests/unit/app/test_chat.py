"""The workspace chat's functions on the engine, over `MemoryStore`: what they do, and what they refuse (I9, I10)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from concave.functions.loader import load_app
from concave.functions.outcomes import Outcome
from concave.functions.runner import FunctionRunner
from concave.schema.plan import compile_plan
from concave.storage.committer import Committer
from concave.storage.memory import MemoryStore
from concave.storage.timeline import Timeline
from concave.values.ids import new_id
from concave.values.runtime import SystemRuntime

SCHEMA = Path(__file__).parents[3] / "schema"


class Chat:
    """The app on an empty database. Calls raise an `AssertionError` with the function's failure if it fails."""

    def __init__(self, store: MemoryStore, timeline: Timeline, runner: FunctionRunner, runtime: SystemRuntime) -> None:
        self._store = store
        self._timeline = timeline
        self._runner = runner
        self._runtime = runtime

    async def query(self, path: str, **args: Any) -> Any:
        return _value(await self._runner.run_query(path, args, identity=None))

    async def mutation(self, path: str, **args: Any) -> Any:
        """A public or an internal one."""
        return _value(await self._runner.run_mutation(path, args, identity=None, internal_ok=True))

    async def refuses(self, code: str, path: str, **args: Any) -> None:
        """The mutation fails with this refusal and a message for people."""
        outcome = await self._runner.run_mutation(path, args, identity=None)
        assert isinstance(outcome.error_data, dict), outcome.error_message or "it was not refused"
        assert outcome.error_data["code"] == code
        assert outcome.error_data["message"].endswith(".")

    async def stored(self, table: str, id: str) -> dict[str, Any]:
        """The document as it is in the database."""
        document = await self._store.get(table, id, await self._store.current_ts())
        assert document is not None
        return document

    async def insert(self, table: str, **fields: Any) -> str:
        """Writes a document past the functions, as another program would; returns its id."""
        now = self._runtime.now_ms()
        id = new_id(self._store.database.numbers[table], self._runtime)
        document = {"_id": id, "_creationTime": now, "createdAt": now, **fields}
        await self._timeline.wait_for_ts(self._store.database.foreign_insert(table, document))
        return id


def _value(outcome: Outcome) -> Any:
    assert outcome.ok, outcome.error_message
    return outcome.value


@pytest.fixture
async def chat() -> AsyncIterator[Chat]:
    runtime = SystemRuntime()
    store = MemoryStore(runtime=runtime)
    app = load_app(SCHEMA)
    catalog = await store.push(compile_plan(app.schema))
    timeline = await Timeline.open(store)
    committer = Committer(store, timeline, runtime, node="test")
    runner = FunctionRunner(store, timeline, committer, runtime)
    runner.swap(app, catalog)
    runtime.spawn(committer.run(), name="committer")
    runtime.spawn(timeline.follow(store, runtime), name="feed")
    yield Chat(store, timeline, runner, runtime)
    await runtime.close()
    app.package.discard()


@dataclass(slots=True)
class Person:
    """Somebody who has joined, and what most calls need of them."""

    userId: str
    workspaceId: str
    channelId: str

    @property
    def actor(self) -> dict[str, str]:
        return {"channelId": self.channelId, "userId": self.userId}


async def _join(chat: Chat, name: str) -> Person:
    """A display-name login; `channelId` is #general, which everybody is put into."""
    ids = await chat.mutation("auth/users:join", displayName=name)
    channels = await chat.query("messaging/channels:list", workspaceId=ids["workspaceId"])
    return Person(ids["userId"], ids["workspaceId"], channels[0]["_id"])


async def _messages(chat: Chat, channelId: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = await chat.query("messaging/messages:list", channelId=channelId)
    return messages


# Joining


async def test_the_first_to_join_finds_general_and_everybody_after_them_is_in_it(chat: Chat) -> None:
    ana = await _join(chat, "  Ana   Lima ")
    ben = await _join(chat, "Ben")
    assert ana.workspaceId == ben.workspaceId
    members = await chat.query("messaging/members:list", channelId=ana.channelId)
    assert sorted(members) == sorted([ana.userId, ben.userId])
    people = await chat.query("workspaces/members:list", workspaceId=ana.workspaceId)
    assert [(one["displayName"], one["role"]) for one in people] == [("Ana Lima", "member"), ("Ben", "member")]


async def test_joining_again_is_coming_back(chat: Chat) -> None:
    ana = await _join(chat, "Ana")
    assert await _join(chat, "ANA") == ana
    assert len(await chat.query("workspaces/members:list", workspaceId=ana.workspaceId)) == 1


@pytest.mark.parametrize(("name", "code"), [("", "TextEmpty"), (" \n ", "TextEmpty"), ("x" * 41, "TextTooLong")])
async def test_a_display_name_has_a_length(chat: Chat, name: str, code: str) -> None:
    await chat.refuses(code, "auth/users:join", displayName=name)


async def test_a_remembered_user_is_asked_for_with_any_string(chat: Chat) -> None:
    ana = await _join(chat, "Ana")
    assert (await chat.query("auth/users:get", userId=ana.userId))["displayName"] == "Ana"
    assert await chat.query("auth/users:get", userId=ana.channelId) is None
    assert await chat.query("auth/users:get", userId="what is this") is None


# Channels


@pytest.mark.parametrize(
    ("typed", "stored"), [("design", "design"), (" #Release-Notes ", "release-notes"), ("q3_plan", "q3_plan")]
)
async def test_a_channel_is_named_as_it_was_meant(chat: Chat, typed: str, stored: str) -> None:
    ana = await _join(chat, "Ana")
    channelId = await chat.mutation(
        "messaging/channels:create", workspaceId=ana.workspaceId, userId=ana.userId, name=typed, topic=" About \n it "
    )
    channels = await chat.query("messaging/channels:list", workspaceId=ana.workspaceId)
    channel = next(one for one in channels if one["_id"] == channelId)
    assert (channel["name"], channel["topic"], channel["isDefault"]) == (stored, "About it", False)
    assert [one["name"] for one in channels] == sorted(one["name"] for one in channels)
    mine = await chat.query("messaging/members:channelsOf", workspaceId=ana.workspaceId, userId=ana.userId)
    assert channelId in mine


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", "TextEmpty"),
        ("#", "TextEmpty"),
        ("x" * 33, "TextTooLong"),
        ("two words", "ChannelNameInvalid"),
        ("-dash", "ChannelNameInvalid"),
        ("a--b", "ChannelNameInvalid"),
        ("a/b", "ChannelNameInvalid"),
        ("General", "ChannelNameTaken"),
    ],
)
async def test_what_is_no_channel_name(chat: Chat, name: str, code: str) -> None:
    ana = await _join(chat, "Ana")
    await chat.refuses(code, "messaging/channels:create", workspaceId=ana.workspaceId, userId=ana.userId, name=name)
    assert len(await chat.query("messaging/channels:list", workspaceId=ana.workspaceId)) == 1


async def test_a_channel_is_joined_before_one_writes(chat: Chat) -> None:
    ana, ben = await _join(chat, "Ana"), await _join(chat, "Ben")
    channelId = await chat.mutation(
        "messaging/channels:create", workspaceId=ana.workspaceId, userId=ana.userId, name="design"
    )
    actor = {"channelId": channelId, "userId": ben.userId}
    messageId = await chat.mutation("messaging/messages:send", channelId=channelId, userId=ana.userId, body="Hello")

    await chat.refuses("NotAChannelMember", "messaging/messages:send", **actor, body="Hello")
    await chat.refuses("NotAChannelMember", "messaging/typing:start", **actor)
    await chat.refuses(
        "NotAChannelMember", "messaging/reactions:toggle", messageId=messageId, userId=ben.userId, emoji="👍"
    )
    for _ in range(2):
        assert await chat.mutation("messaging/members:join", **actor) is None
    await chat.mutation("messaging/messages:send", **actor, body="Hello, too")
    for _ in range(2):
        assert await chat.mutation("messaging/members:leave", **actor) is None
    await chat.refuses("NotAChannelMember", "messaging/messages:send", **actor, body="Hello?")
    assert [one["body"] for one in await _messages(chat, channelId)] == ["Hello, too", "Hello"]


async def test_people_from_outside_the_workspace_change_nothing_in_it(chat: Chat) -> None:
    ana = await _join(chat, "Ana")
    stranger = await chat.insert("users", displayName="Stranger", handle="stranger")
    messageId = await chat.mutation("messaging/messages:send", **ana.actor, body="Hello")

    refused = "NotAWorkspaceMember"
    inside = {"channelId": ana.channelId, "userId": stranger}
    await chat.refuses(refused, "messaging/channels:create", workspaceId=ana.workspaceId, userId=stranger, name="mine")
    await chat.refuses(refused, "messaging/members:join", **inside)
    await chat.refuses(refused, "messaging/messages:send", **inside, body="Hello")
    await chat.refuses(refused, "messaging/typing:start", **inside)
    of_message = {"messageId": messageId, "userId": stranger}
    await chat.refuses(refused, "messaging/reactions:toggle", **of_message, emoji="👍")
    await chat.refuses(refused, "messaging/messages:edit", **of_message, body="Mine now")
    await chat.refuses(refused, "messaging/messages:delete", **of_message)
    [message] = await _messages(chat, ana.channelId)
    assert (message["body"], message["reactions"]) == ("Hello", [])


# Messages


async def test_the_latest_fifty_messages_newest_first(chat: Chat) -> None:
    ana = await _join(chat, "Ana")
    for number in range(53):
        await chat.mutation("messaging/messages:send", **ana.actor, body=f"  number {number}\nsecond line  ")
    messages = await _messages(chat, ana.channelId)
    assert [one["body"] for one in messages] == [f"number {number}\nsecond line" for number in range(52, 2, -1)]
    assert messages[0]["author"] == {"userId": ana.userId, "displayName": "Ana"}
    assert "editedAt" not in messages[0]


@pytest.mark.parametrize(("body", "code"), [("", "TextEmpty"), (" \n", "TextEmpty"), ("x" * 4001, "TextTooLong")])
async def test_a_message_has_a_length(chat: Chat, body: str, code: str) -> None:
    ana = await _join(chat, "Ana")
    await chat.refuses(code, "messaging/messages:send", **ana.actor, body=body)
    messageId = await chat.mutation("messaging/messages:send", **ana.actor, body="x" * 4000)
    await chat.refuses(code, "messaging/messages:edit", messageId=messageId, userId=ana.userId, body=body)


async def test_an_edited_message_says_so(chat: Chat) -> None:
    ana = await _join(chat, "Ana")
    messageId = await chat.mutation("messaging/messages:send", **ana.actor, body="Helo")
    own = {"messageId": messageId, "userId": ana.userId}
    await chat.mutation("messaging/messages:edit", **own, body=" Helo ")
    assert "editedAt" not in (await _messages(chat, ana.channelId))[0]
    await chat.mutation("messaging/messages:edit", **own, body="Hello")
    [message] = await _messages(chat, ana.channelId)
    assert message["body"] == "Hello"
    assert message["editedAt"] >= message["createdAt"]


async def test_a_deleted_message_is_out_of_sight_and_still_there(chat: Chat) -> None:
    ana = await _join(chat, "Ana")
    messageId = await chat.mutation("messaging/messages:send", **ana.actor, body="Oops")
    own = {"messageId": messageId, "userId": ana.userId}
    await chat.mutation("messaging/messages:delete", **own)
    assert await _messages(chat, ana.channelId) == []
    assert (await chat.stored("messages", messageId))["body"] == "Oops"
    await chat.refuses("MessageNotFound", "messaging/messages:delete", **own)
    await chat.refuses("MessageNotFound", "messaging/messages:edit", **own, body="Hello")
    await chat.refuses("MessageNotFound", "messaging/reactions:toggle", **own, emoji="👍")


async def test_only_its_author_changes_a_message(chat: Chat) -> None:
    ana, ben = await _join(chat, "Ana"), await _join(chat, "Ben")
    messageId = await chat.mutation("messaging/messages:send", **ana.actor, body="Hello")
    of_message = {"messageId": messageId, "userId": ben.userId}
    await chat.refuses("NotTheAuthor", "messaging/messages:edit", **of_message, body="Mine")
    await chat.refuses("NotTheAuthor", "messaging/messages:delete", **of_message)
    assert [one["body"] for one in await _messages(chat, ana.channelId)] == ["Hello"]


# Reactions and typing


async def test_a_reaction_is_put_and_taken_away(chat: Chat) -> None:
    ana, ben = await _join(chat, "Ana"), await _join(chat, "Ben")
    before = await chat.mutation("messaging/messages:send", **ana.actor, body="Before")
    messageId = await chat.mutation("messaging/messages:send", **ana.actor, body="Hello")

    async def toggle(person: Person, emoji: str) -> bool:
        put: bool = await chat.mutation(
            "messaging/reactions:toggle", messageId=messageId, userId=person.userId, emoji=emoji
        )
        return put

    assert [await toggle(ana, "👍"), await toggle(ben, "👍"), await toggle(ben, "🎉")] == [True, True, True]
    newest, older = await _messages(chat, ana.channelId)
    assert newest["reactions"] == [
        {"emoji": "👍", "userIds": [ana.userId, ben.userId]},
        {"emoji": "🎉", "userIds": [ben.userId]},
    ]
    assert (older["_id"], older["reactions"]) == (before, [])
    assert await toggle(ana, "👍") is False
    assert await toggle(ben, "🎉") is False
    newest, _ = await _messages(chat, ana.channelId)
    assert newest["reactions"] == [{"emoji": "👍", "userIds": [ben.userId]}]


@pytest.mark.parametrize("emoji", ["", "two words", "x" * 17])
async def test_what_is_no_emoji(chat: Chat, emoji: str) -> None:
    ana = await _join(chat, "Ana")
    messageId = await chat.mutation("messaging/messages:send", **ana.actor, body="Hello")
    await chat.refuses(
        "EmojiInvalid", "messaging/reactions:toggle", messageId=messageId, userId=ana.userId, emoji=emoji
    )


async def test_typing_ends_by_stopping_and_by_sending(chat: Chat) -> None:
    ana, ben = await _join(chat, "Ana"), await _join(chat, "Ben")

    async def typing() -> list[str]:
        shown = await chat.query("messaging/typing:list", channelId=ana.channelId)
        return sorted(one["displayName"] for one in shown)

    for person in (ana, ben, ana):
        await chat.mutation("messaging/typing:start", **person.actor)
    assert await typing() == ["Ana", "Ben"]
    await chat.mutation("messaging/typing:stop", **ana.actor)
    await chat.mutation("messaging/typing:stop", **ana.actor)
    assert await typing() == ["Ben"]
    await chat.mutation("messaging/messages:send", **ben.actor, body="Hello")
    assert await typing() == []


async def test_going_on_typing_moves_the_expiry(chat: Chat) -> None:
    ana = await _join(chat, "Ana")
    await chat.mutation("messaging/typing:start", **ana.actor)
    [first] = await chat.query("messaging/typing:list", channelId=ana.channelId)
    await chat.mutation("messaging/typing:start", **ana.actor)
    [second] = await chat.query("messaging/typing:list", channelId=ana.channelId)
    assert second["expiresAt"] >= first["expiresAt"] > first["expiresAt"] - 8_000


# The demonstration


async def test_seeding_twice_is_seeding_once(chat: Chat) -> None:
    visitor = await chat.mutation("auth/users:join", displayName="Visitor")
    written = await chat.mutation("dev/demo:seed")
    assert written["people"] == 5
    assert written["channels"] == 3  # #general was there, for the visitor
    assert written["messages"] > 35
    assert written["reactions"] > 35
    assert await chat.mutation("dev/demo:seed") == {"people": 0, "channels": 0, "messages": 0, "reactions": 0}

    channels = await chat.query("messaging/channels:list", workspaceId=visitor["workspaceId"])
    assert [one["name"] for one in channels] == ["design", "engineering", "general", "random"]
    mine = await chat.query("messaging/members:channelsOf", **visitor)
    assert {one["name"] for one in channels if one["_id"] in mine} == {"general", "random"}
    for channel in channels:
        times = [one["createdAt"] for one in await _messages(chat, channel["_id"])]
        assert times == sorted(times, reverse=True)
