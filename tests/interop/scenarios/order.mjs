// Mutations of one client run in the order of their calls; concurrent clients lose no update.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { api, channel, done, openClient, openHttpClient } from "./_harness.mjs";

const client = openClient();
const calls = Array.from({ length: 50 }, (_, i) => client.mutation(api.send, { channel, body: `${i}` }));
await Promise.all(calls);
const messages = await client.query(api.list, { channel });
assert.deepEqual(messages.map((message) => message.body), Array.from({ length: 50 }, (_, i) => `${i}`));

const name = randomUUID();
const clients = Array.from({ length: 6 }, () => openClient());
const counts = await Promise.all(
  clients.flatMap((one) => Array.from({ length: 5 }, () => one.mutation(api.increment, { name }))),
);
assert.deepEqual(counts.sort((a, b) => a - b), Array.from({ length: 30 }, (_, i) => i + 1));
assert.equal(await openHttpClient().mutation(api.increment, { name }), 31);
await done(client, ...clients);
