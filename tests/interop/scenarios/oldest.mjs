// The oldest npm client that speaks the protocol of today: 1.0 (its forerunner 0.19 spoke another, and is refused).
import assert from "node:assert/strict";
import { BaseConvexClient } from "convex-oldest/browser";
import { WebSocket } from "ws";
import { api, channel, done, eventually, openHttpClient, rejected, url } from "./_harness.mjs";

const sockets = [];
class BreakableSocket extends WebSocket {
  constructor(...args) {
    super(...args);
    sockets.push(this);
  }
}
const options = { webSocketConstructor: BreakableSocket, unsavedChangesWarning: false };
const client = new BaseConvexClient(url, () => frames.push(local()), options);
const frames = [];
const local = () => client.localQueryResult("messages:list", { channel });
const pageArgs = { channel, paginationOpts: { numItems: 1, cursor: null } };
const page = () => client.localQueryResult("messages:pages", pageArgs);
client.subscribe("messages:list", { channel });
client.subscribe("messages:pages", pageArgs);
await eventually(() => frames.at(-1), "the first result");

const id = await client.mutation("messages:send", { channel, body: "own" });
assert.equal(local()[0]._id, id, "the caller's own query reflects it");
const optimisticUpdate = (store) => {
  const now = store.getQuery("messages:list", { channel });
  store.setQuery("messages:list", { channel }, [...now, { _id: "pending", body: "optimistic" }]);
};
await client.mutation("messages:send", { channel, body: "optimistic" }, { optimisticUpdate });
await openHttpClient().mutation(api.send, { channel, body: "another's" });
await eventually(() => local().length === 3, "another's mutation arrives");
for (const frame of frames.filter(Boolean)) {
  assert.deepEqual(frame.map((message) => message.body), ["own", "optimistic", "another's"].slice(0, frame.length));
}
assert.match((await rejected(client.mutation("messages:refuse", { data: "no" }))).message, /Uncaught ConvexError: no/);
assert.deepEqual(await client.action("messages:echo_action", { value: [1n, NaN] }), [1n, NaN]);
await eventually(() => page().page.length === 3, "a page keeps its end, and grows");

sockets.at(-1).terminate();
const sent = client.mutation("messages:send", { channel, body: "after the break" });
await sent;
assert.equal(local().length, 4);
assert.equal(sockets.length, 2);
await done(client);
