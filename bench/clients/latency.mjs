// node latency.mjs URL COUNT: the official client sends one message after the other, 5 ms apart.
import { setTimeout as sleep } from "node:timers/promises";
import { milliseconds, now, openClient, percentile, report } from "./targets.mjs";

const [url, count] = process.argv.slice(2);
const client = openClient("concave", url);
const latencies = [];
for (let i = 0; i < Number(count); i++) {
  const called = now();
  await client.send("latency", `message ${i} ${"x".repeat(120)}`);
  latencies.push(milliseconds(called, now()));
  await sleep(5);
}
const measured = latencies.slice(Math.floor(latencies.length / 10));
report({ p50: percentile(measured, 0.5), p95: percentile(measured, 0.95) });
process.exit(0);
