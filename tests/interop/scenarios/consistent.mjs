// Two queries over the same documents never disagree within one client, while another client writes (I2).
import assert from "node:assert/strict";
import { api, channel, done, eventually, follow, openClient } from "./_harness.mjs";

const torn = [];
let frames = 0;
const reader = openClient();
const local = (query) => reader.client.localQueryResult(query, { channel });
reader.client.addOnTransitionHandler(() => {
  const [list, count] = [local("messages:list"), local("messages:count")];
  if (list === undefined || count === undefined) return;
  frames++;
  if (list.length !== count) torn.push([list.length, count]);
});
follow(reader, api.list, { channel });
follow(reader, api.count, { channel });
const writers = [openClient(), openClient()];
await Promise.all(
  writers.map(async (writer) => {
    for (let i = 0; i < 25; i++) await writer.mutation(api.send, { channel, body: `${i}` });
  }),
);
await eventually(() => local("messages:count") === 50, "all writes");
assert.deepEqual(torn, []);
assert(frames > 1);
await done(reader, ...writers);
