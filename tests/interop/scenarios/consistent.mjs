// Two queries over the same documents never disagree within one client, while another client writes (I2).
import assert from "node:assert/strict";
import { api, channel, done, eventually, openClient } from "./_harness.mjs";
import { BaseConvexClient } from "convex/browser";

const torn = [];
let frames = 0;
const reader = new BaseConvexClient(process.env.CONVEX_URL, () => {
  const list = reader.localQueryResult("messages:list", { channel });
  const count = reader.localQueryResult("messages:count", { channel });
  if (list === undefined || count === undefined) return;
  frames++;
  if (list.length !== count) torn.push([list.length, count]);
});
reader.subscribe("messages:list", { channel });
reader.subscribe("messages:count", { channel });
const writers = [openClient(), openClient()];
await Promise.all(
  writers.map(async (writer) => {
    for (let i = 0; i < 25; i++) await writer.mutation(api.send, { channel, body: `${i}` });
  }),
);
await eventually(() => reader.localQueryResult("messages:count", { channel }) === 50, "all writes");
assert.deepEqual(torn, []);
assert(frames > 1);
await done(reader, ...writers);
