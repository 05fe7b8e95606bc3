// An optimistic update is replaced by the real one without a frame in which the message is there twice or not at all.
import assert from "node:assert/strict";
import { api, channel, done, eventually, follow, openClient } from "./_harness.mjs";

const client = openClient();
const live = follow(client, api.list, { channel });
await eventually(() => live.newest(), "the first result");
for (let i = 0; i < 20; i++) {
  await client.mutation(
    api.send,
    { channel, body: `${i}` },
    {
      optimisticUpdate: (store, args) => {
        const now = store.getQuery(api.list, { channel });
        if (now) store.setQuery(api.list, { channel }, [...now, { _id: "pending", _creationTime: 0, ...args }]);
      },
    },
  );
}
for (const frame of live.results) {
  const bodies = frame.map((message) => message.body);
  assert.deepEqual(bodies, bodies.map((_, i) => `${i}`), "each message once, none missing");
}
assert.equal(live.newest().length, 20);
assert(live.newest().every((message) => message._id !== "pending"));
await done(client);
