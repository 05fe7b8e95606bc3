// node live_queries.mjs URL QUERIES INTERVALS WRITES: one session holds QUERIES distinct live queries, a second one
// INTERVALS intervals of other queries; a third sends messages to what one of the queries reads, one after the other.
// Reports {ready} when every query has its first result, waits for a line, writes, reports how long a write took.
import { setTimeout as sleep } from "node:timers/promises";
import { BareSession } from "./bare.mjs";
import { milliseconds, nextLine, now, percentile, report } from "./targets.mjs";

const [url, queries, intervals, writes] = process.argv.slice(2);
const INTERVALS_EACH = 1_000;
const readers = await new BareSession(url).connect();
await readers.subscribe(
  Array.from({ length: Number(queries) }, (_, number) => ({
    path: "messages:list",
    args: { channel: `channel ${number}` },
  })),
);
for (let first = 0; first < Number(intervals); first += INTERVALS_EACH) {
  const names = Math.min(INTERVALS_EACH, Number(intervals) - first);
  const watcher = await new BareSession(url).connect();
  await watcher.subscribe([{ path: "counters:watch", args: { prefix: `watched ${first}`, names } }]);
}
const writer = await new BareSession(url).connect();
const body = "x".repeat(120);
const send = () => writer.mutate("messages:send", { channel: "channel 0", author: "bench", body });
for (let i = 0; i < 20; i++) await send();

report({ ready: true });
await nextLine();
const latencies = [];
for (let i = 0; i < Number(writes); i++) {
  const called = now();
  await send();
  latencies.push(milliseconds(called, now()));
  await sleep(2); // so that each write is a round of its own
}
report({ p50: percentile(latencies, 0.5) });
process.exit(0);
