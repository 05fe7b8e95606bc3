// Errors reach the caller with their data; nothing of a failed mutation stays; the connection goes on.
import assert from "node:assert/strict";
import { ConvexError } from "convex/values";
import { anyApi } from "convex/server";
import { api, channel, done, eventually, follow, openClient, openHttpClient, rejected } from "./_harness.mjs";

const client = openClient();
const http = openHttpClient();
const data = { code: "too_long", limit: 3n };
for (const caller of [client, http]) {
  const error = await rejected(caller.mutation(api.refuse, { data }));
  assert(error instanceof ConvexError);
  assert.deepStrictEqual(error.data, data);

  const crash = await rejected(caller.mutation(api.crash, {}));
  assert(!(crash instanceof ConvexError), "an ordinary exception carries no data");
  assert.match(crash.message, /Uncaught ValueError: something broke/);
  assert.match(crash.message, /messages\.py/, "the developer sees where");

  const missing = await rejected(caller.query(anyApi.messages.lst, { channel }));
  assert.match(missing.message, /Could not find public function for 'messages:lst'/);
  const hidden = await rejected(caller.query(api.hidden, {}));
  assert.match(hidden.message, /Could not find public function for 'messages:hidden'/);

  const wrong = await rejected(caller.mutation(api.send, { channel, body: 7 }));
  assert.match(wrong.message, /ArgumentValidationError: Value does not match validator/);
  assert.match(wrong.message, /Path: \.body/);
  const absent = await rejected(caller.mutation(api.send, { channel }));
  assert.match(absent.message, /missing the required field `body`/);
  const extra = await rejected(caller.mutation(api.send, { channel, body: "x", colour: "red" }));
  assert.match(extra.message, /extra field `colour`/);
  const kind = await rejected(caller.query(api.send, { channel, body: "x" }));
  assert.match(kind.message, /Trying to execute messages(\.js)?:send as Query, but it is defined as Mutation/);
}
assert.deepEqual(await http.query(api.list, { channel: "refused" }), [], "a failed mutation leaves nothing");

const live = follow(client, api.refuse_query, { data: null });
const failure = await eventually(() => live.failures[0], "a failing live query reports");
assert(failure instanceof ConvexError && failure.data === null);
await client.mutation(api.send, { channel, body: "still here" });
assert.equal(await client.query(api.count, { channel }), 1);
await done(client);
