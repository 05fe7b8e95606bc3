// The hooks of ConvexReactClient: queries, several at once, mutations and actions, skipping, and errors that surface.
import assert from "node:assert/strict";
import { useAction, useConvexConnectionState, useMutation, useQueries, useQuery } from "convex/react";
import { useState } from "react";
import { api, channel, done, eventually, openHttpClient, rejected } from "./_harness.mjs";
import { mount, openReactClient } from "./_react.mjs";

const client = openReactClient();
const other = `${channel}, the other`;
const several = {
  count: { query: api.count, args: { channel } },
  refused: { query: api.refuse_query, args: { data: { code: 7n } } },
};
const { frames, newest, unmount } = mount(client, () => {
  const [shown, show] = useState(false);
  return {
    list: useQuery(api.list, { channel }),
    count: useQuery(api.count, { channel }),
    skipped: useQuery(api.list, shown ? { channel: other } : "skip"),
    several: useQueries(several),
    send: useMutation(api.send),
    sendAll: useAction(api.send_all),
    connection: useConvexConnectionState(),
    show,
  };
});
await eventually(() => newest().list && newest().several.refused, "the first results");
assert.equal(frames[0].list, undefined, "no result, no value");
assert.deepEqual([newest().list, newest().count], [[], 0]);
assert.deepEqual(newest().several.refused.data, { code: 7n }, "one failing query of several leaves the others alone");
assert.equal(newest().several.count, 0);
assert(newest().connection.isWebSocketConnected);

await newest().send({ channel, body: "first" });
await eventually(() => newest().count === 1, "the mutation's effect is rendered");
assert.equal(await newest().sendAll({ channel, bodies: ["second", "third"] }), 3);
await eventually(() => newest().count === 3, "the action's effect is rendered");
for (const frame of frames) {
  if (frame.list) assert.equal(frame.list.length, frame.count, "queries of one render agree");
  if (frame.several.count !== undefined && frame.count !== undefined) assert.equal(frame.several.count, frame.count);
}
assert.match((await rejected(newest().send({ channel, body: 7 }))).message, /ArgumentValidationError/);

assert.equal(newest().skipped, undefined);
newest().show(true);
await openHttpClient().mutation(api.send, { channel: other, body: "elsewhere" });
await eventually(() => newest().skipped?.length === 1, "a query that is no longer skipped");
unmount();

const failing = mount(client, () => useQuery(api.refuse_query, { data: "no" }));
const failure = await eventually(() => failing.failures[0], "an error boundary is told");
assert.equal(failure.data, "no");
await done(client);
