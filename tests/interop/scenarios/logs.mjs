// What a function prints or logs reaches the developer's console in the client's own format.
import assert from "node:assert/strict";
import { api, done, openClient } from "./_harness.mjs";

const lines = [];
const logger = Object.fromEntries(
  ["log", "logVerbose", "warn", "error"].map((level) => [level, (...args) => lines.push([level, ...args].join(" "))]),
);
const client = openClient({ logger });
assert.equal(await client.query(api.logs, {}), "logged");
const text = lines.join("\n");
assert.match(text, /hello/);
assert.match(text, /careful: wet floor/);
assert.doesNotMatch(text, /Could not parse console\.log/);
await done(client);
