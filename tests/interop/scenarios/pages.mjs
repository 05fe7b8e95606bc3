// Pages are adjacent, complete, and end.
import assert from "node:assert/strict";
import { api, channel, done, openHttpClient } from "./_harness.mjs";

const http = openHttpClient();
await http.action(api.send_all, { channel, bodies: Array.from({ length: 20 }, (_, i) => `${i}`) });
const bodies = [];
const done_ = [];
let cursor = null;
do {
  const page = await http.query(api.pages, { channel, paginationOpts: { numItems: 10, cursor } });
  bodies.push(...page.page.map((message) => message.body));
  done_.push(page.isDone);
  cursor = page.continueCursor;
} while (!done_.at(-1));
assert.deepEqual(bodies, Array.from({ length: 20 }, (_, i) => `${i}`));
assert.deepEqual(done_, [false, false, true], "a page that fills up at the last row does not know that it is the last");
await done();
