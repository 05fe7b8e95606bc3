// Results of several megabytes, which the server sends in chunks cut anywhere; and an address that ends with a slash.
import assert from "node:assert/strict";
import { ConvexClient } from "convex/browser";
import { api, channel, done, eventually, url } from "./_harness.mjs";
import { networkOf } from "./_react.mjs";

const types = [];
const network = networkOf();
class Listening extends network.webSocketConstructor {
  emit(event, ...args) {
    if (event === "message") types.push(JSON.parse(args[0]).type);
    return super.emit(event, ...args);
  }
}
const client = new ConvexClient(`${url}/`, { webSocketConstructor: Listening });
const results = [];
client.onUpdate(api.large, { characters: 3_900_000 }, (value) => results.push(value));
client.onUpdate(api.large, { characters: 600_000 }, (value) => results.push(value));
await eventually(() => results.length === 2, "both results");
const characters = results.map((text) => Array.from(text).length).sort((a, b) => a - b);
assert.deepEqual(characters, [600_000, 3_900_000]);
for (const text of results) assert(text === "é€🙂".repeat(Array.from(text).length / 3), "every character is whole");
assert(types.filter((type) => type === "TransitionChunk").length >= 3);
await client.mutation(api.send, { channel, body: "the connection goes on" });
await done(client);
