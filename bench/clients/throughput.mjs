// node throughput.mjs TARGET URL CLIENTS SECONDS: every client sends one message after the other.
import { milliseconds, now, openClient, percentile, report } from "./targets.mjs";

const [target, url, clients, seconds] = process.argv.slice(2);
const open = await Promise.all(
  Array.from({ length: Number(clients) }, async () => {
    const client = openClient(target, url);
    await client.ready();
    await client.send("throughput", "warm up");
    return client;
  }),
);
const start = now();
const end = start + BigInt(Math.round(Number(seconds) * 1e9));
const latencies = [];
await Promise.all(
  open.map(async (client, number) => {
    for (let i = 0; now() < end; i++) {
      const called = now();
      await client.send(`throughput ${number}`, `message ${i} ${"x".repeat(120)}`);
      latencies.push(milliseconds(called, now()));
    }
  }),
);
const elapsed = milliseconds(start, now()) / 1000;
report({ sent: latencies.length, perSecond: latencies.length / elapsed, p50: percentile(latencies, 0.5) });
process.exit(0);
