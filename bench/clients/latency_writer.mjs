// node latency_writer.mjs TARGET URL CHANNEL COUNT: one message after the other, each carrying the time of its call.
import { setTimeout as sleep } from "node:timers/promises";
import { now, openClient } from "./targets.mjs";

const [target, url, channel, count] = process.argv.slice(2);
const client = openClient(target, url);
await client.ready();
for (let i = 0; i < Number(count); i++) {
  await client.send(channel, `sent ${now()} ${"x".repeat(120)}`);
  await sleep(5);
}
await sleep(500);
process.exit(0);
