import type { OptimisticLocalStore } from "convex/browser";
import { getFunctionName } from "convex/server";
import { expect, test } from "vitest";

import type { Id, Message, Reaction, User } from "../api";
import { showSent, showToggled, toggled } from "./optimistic";

const ana = "ana" as Id<"users">;
const ben = "ben" as Id<"users">;
const channelId = "c1" as Id<"channels">;
const me: User = { _id: ana, _creationTime: 0, displayName: "Ana", handle: "ana" };

/** A local store that holds one list of messages; reads and writes of other queries fail the test. */
function storeWith(messages: Message[] | undefined) {
  const held = { messages };
  const store = {
    getQuery: () => held.messages,
    getAllQueries: () => [{ args: { channelId }, value: held.messages }],
    setQuery(query: never, args: { channelId: string }, value: Message[]) {
      expect(getFunctionName(query)).toBe("messaging/messages:list");
      expect(args).toEqual({ channelId });
      held.messages = value;
    },
  } as unknown as OptimisticLocalStore;
  return { held, store };
}

test("a message that is being sent stands first, and is the same however often the update runs", () => {
  const update = showSent(me, "  hello \n");
  const first = storeWith([]);
  const second = storeWith([]);
  update(first.store, { channelId });
  update(second.store, { channelId });
  expect(first.held).toEqual(second.held);
  expect(first.held.messages).toMatchObject([{ body: "hello", pending: true, author: { userId: ana } }]);
});

test("nothing is shown in a channel whose messages have not been loaded", () => {
  const { held, store } = storeWith(undefined);
  showSent(me, "hello")(store, { channelId });
  expect(held.messages).toBeUndefined();
});

test("a toggled reaction changes its message only", () => {
  const one = { _id: "m1" as Id<"messages">, reactions: [] as Reaction[] } as Message;
  const other = { _id: "m2" as Id<"messages">, reactions: [] as Reaction[] } as Message;
  const { held, store } = storeWith([one, other]);
  showToggled(store, { messageId: one._id, userId: ana, emoji: "👍" });
  expect(held.messages).toEqual([{ ...one, reactions: [{ emoji: "👍", userIds: [ana] }] }, other]);
});

test("toggling puts a reaction, joins it, and takes it away with its last person", () => {
  const put = toggled([], ana, "👍");
  expect(put).toEqual([{ emoji: "👍", userIds: [ana] }]);
  const both = toggled(put, ben, "👍");
  expect(both).toEqual([{ emoji: "👍", userIds: [ana, ben] }]);
  expect(toggled(both, ana, "👍")).toEqual([{ emoji: "👍", userIds: [ben] }]);
  expect(toggled(put, ana, "👍")).toEqual([]);
});
