// Every kind of value makes the round trip through both clients and all three kinds of function.
import assert from "node:assert/strict";
import { api, done, eventually, follow, openClient, openHttpClient } from "./_harness.mjs";

const value = {
  null: null,
  int64: 123n,
  smallest: -9223372036854775808n,
  largest: 9223372036854775807n,
  number: 17,
  fraction: -0.5,
  negativeZero: -0,
  nan: NaN,
  infinity: Infinity,
  negativeInfinity: -Infinity,
  boolean: true,
  text: 'quotes " backslash \\ newline \n nul \u0000 emoji 🙂 \uffff',
  bytes: new Uint8Array([0, 1, 254, 255]).buffer,
  array: [1, [2n, [null]], "x"],
  object: { "a.b": 1, "a b": { deep: [true] } },
};
const client = openClient();
const http = openHttpClient();
for (const [name, call] of [
  ["socket mutation", (v) => client.mutation(api.echo_mutation, v)],
  ["socket action", (v) => client.action(api.echo_action, v)],
  ["socket one-off query", (v) => client.query(api.echo, v)],
  ["http query", (v) => http.query(api.echo, v)],
  ["http mutation", (v) => http.mutation(api.echo_mutation, v)],
  ["http action", (v) => http.action(api.echo_action, v)],
]) {
  assert.deepStrictEqual(await call({ value }), value, name);
}
const live = follow(client, api.echo, { value });
assert.deepStrictEqual(await eventually(() => live.newest(), "the live query"), value);
assert.equal(await http.mutation(api.nothing, {}), null);
await done(client);
