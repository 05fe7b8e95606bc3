// A mutation shows up at every subscriber, and at the caller before its promise resolves (I4).
import assert from "node:assert/strict";
import { api, channel, done, eventually, follow, openClient } from "./_harness.mjs";

const writer = openClient();
const reader = openClient();
const own = follow(writer, api.list, { channel });
const other = follow(reader, api.list, { channel });
await eventually(() => own.newest() && other.newest(), "first results");
assert.deepEqual(own.newest(), []);

const id = await writer.mutation(api.send, { channel, body: "first" });
assert.deepEqual(own.newest().map((message) => message.body), ["first"], "the caller's own query reflects it");
assert.equal(own.newest()[0]._id, id);
assert.equal(typeof own.newest()[0]._creationTime, "number");
await eventually(() => other.newest().length === 1, "the other subscriber hears of it");

await writer.mutation(api.edit, { id, body: "edited" });
await eventually(() => other.newest()[0].body === "edited", "an edit arrives");
await writer.mutation(api.remove, { id });
await eventually(() => other.newest().length === 0, "a deletion arrives");

// After unsubscribing nothing more is delivered.
other.stop();
const before = other.results.length;
await writer.mutation(api.send, { channel, body: "unheard" });
assert.equal(other.results.length, before);
await done(writer, reader);
