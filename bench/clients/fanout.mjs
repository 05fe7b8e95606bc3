// node fanout.mjs TARGET URL SOCKETS CHANNELS WRITES: socket i listens to channel i % CHANNELS; all writes go to channel 0.
// Reports {ready} when every socket has its first result, waits for a line, writes, reports, waits for a line, ends.
import { setTimeout as sleep } from "node:timers/promises";
import { milliseconds, nextLine, now, openBareSubscriber, openClient, percentile, report } from "./targets.mjs";

const [target, url, sockets, channels, writes] = process.argv.slice(2);
const total = Number(sockets);
const listeners = Math.ceil(total / Number(channels)); // sockets on channel 0
let started = 0;
let marker = "";
let seen = 0;
let strangers = 0; // sockets that were woken although nothing they listen to changed
let done = () => {};
const allStarted = new Promise((resolve) => {
  for (let i = 0; i < total; i++) {
    let first = true;
    openBareSubscriber(target, url, `channel ${i % Number(channels)}`, (text) => {
      // A socket is ready at its first text that holds a result.
      if (first) {
        if (!text.includes("messages") && !text.includes("QueryUpdated")) return;
        first = false;
        if (++started === total) resolve();
        return;
      }
      if (marker && text.includes(marker)) {
        if (++seen === listeners) done(now());
      } else {
        strangers++;
      }
    });
  }
});
await allStarted;
const writer = openClient(target, url);
await writer.ready();
await writer.send("elsewhere", "warm up");
report({ ready: true });
await nextLine();
const latencies = [];
for (let i = 0; i < Number(writes); i++) {
  marker = `marker ${i}.`;
  seen = 0;
  const last = new Promise((resolve) => {
    done = resolve;
  });
  const called = now();
  await writer.send("channel 0", `${marker} ${"x".repeat(120)}`);
  latencies.push(milliseconds(called, await last));
  await sleep(30);
}
report({ lastP50: percentile(latencies, 0.5), lastP95: percentile(latencies, 0.95), strangers });
await nextLine();
process.exit(0);
