// node latency_subscriber.mjs TARGET URL CHANNEL COUNT: from the call in the writer's process to our callback.
import { milliseconds, now, openClient, percentile, report } from "./targets.mjs";

const [target, url, channel, count] = process.argv.slice(2);
const client = openClient(target, url);
await client.ready();
const latencies = [];
let first = true;
client.subscribe(channel, (newest) => {
  const received = now();
  if (first) {
    first = false;
    report({ ready: true });
    return;
  }
  const sent = /^sent (\d+) /.exec(newest);
  if (!sent) return;
  latencies.push(milliseconds(BigInt(sent[1]), received));
  if (latencies.length === Number(count)) {
    const measured = latencies.slice(Math.floor(latencies.length / 10)); // the first tenth warms up
    report({ p50: percentile(measured, 0.5), p95: percentile(measured, 0.95), count: measured.length });
    process.exit(0);
  }
});
