// Optimistic updates by hook: shown at once, replaced without a flicker, taken back when the mutation fails.
import assert from "node:assert/strict";
import { useMutation, useQuery } from "convex/react";
import { api, channel, done, eventually, rejected } from "./_harness.mjs";
import { mount, openReactClient } from "./_react.mjs";

const client = openReactClient();
const pending = (store, body) => {
  const now = store.getQuery(api.list, { channel });
  if (now) store.setQuery(api.list, { channel }, [...now, { _id: "pending", _creationTime: 0, channel, body }]);
};
const { frames, newest } = mount(client, () => ({
  list: useQuery(api.list, { channel }),
  send: useMutation(api.send).withOptimisticUpdate((store, args) => pending(store, args.body)),
  refuse: useMutation(api.refuse).withOptimisticUpdate((store) => pending(store, "never")),
}));
await eventually(() => newest().list, "the first result");
const bodies = (frame) => frame.list.map((message) => message.body);

for (let i = 0; i < 10; i++) {
  const sent = newest().send({ channel, body: `${i}` });
  await eventually(() => newest().list.length === i + 1, "the optimistic update is rendered");
  await sent;
}
await eventually(() => newest().list.every((message) => message._id !== "pending"), "the real messages");
for (const frame of frames.filter((frame) => frame.list)) {
  assert.deepEqual(bodies(frame), bodies(frame).map((_, i) => `${i}`), "each message once, none missing");
}

const before = frames.length;
const refused = newest().refuse({ data: "full" });
const after = newest().send({ channel, body: "10" });
assert.equal((await rejected(refused)).data, "full");
await after;
await eventually(() => newest().list.length === 11 && newest().list[10]._id !== "pending", "only the other one stays");
assert(frames.slice(before).some((frame) => bodies(frame).includes("never")), "it was shown");
assert.deepEqual(bodies(newest()), Array.from({ length: 11 }, (_, i) => `${i}`), "and taken back");
await done(client);
