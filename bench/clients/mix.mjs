// node mix.mjs URLS CLIENTS SECONDS: every client, over a bare connection of its own, reads 20 messages of channels in
// turn, each time from another place on, so that caches are of no use; once in twenty calls it sends a message to one.
// Replies are not parsed: one such process can keep several servers busy.
import net from "node:net";
import { milliseconds, nextLine, now, percentile, report } from "./targets.mjs";

const [addresses, clients, seconds] = process.argv.slice(2);
const urls = addresses.split(",").map((url) => new URL(url));
const CHANNELS = 100;
const WRITE_EVERY = 20;

const requestOf = (url, kind, path, args) => {
  const body = JSON.stringify({ path, args, format: "convex_encoded_json" });
  return Buffer.from(
    `POST /api/${kind} HTTP/1.1\r\nHost: ${url.host}\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${body.length}\r\n\r\n${body}`,
  );
};

const HEAD_END = Buffer.from("\r\n\r\n");

class Connection {
  constructor(url) {
    this.received = 0;
    this.expected = 0;
    this.socket = net.connect(Number(url.port), url.hostname).setNoDelay();
    this.socket.on("data", (data) => this.receive(data));
  }
  call(request) {
    this.socket.write(request);
    return new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }
  receive(data) {
    if (this.expected === 0) {
      const head = data.subarray(0, data.indexOf(HEAD_END)).toString("latin1");
      const length = /content-length: (\d+)/i.exec(head);
      if (!head.startsWith("HTTP/1.1 200") || length === null) return this.reject(new Error(data.toString()));
      this.expected = head.length + 4 + Number(length[1]);
      this.received = 0;
    }
    this.received += data.length;
    if (this.received === this.expected) {
      this.expected = 0;
      this.resolve();
    }
  }
}

const later = Date.now() + 3_600_000;
const open = Array.from({ length: Number(clients) }, (_, number) => {
  const url = urls[number % urls.length];
  const read = (i) => requestOf(url, "query", "messages:page", { channel: `channel ${i % CHANNELS}`, before: later + i });
  const write = (i) =>
    requestOf(url, "mutation", "messages:send", {
      channel: `channel ${(i / WRITE_EVERY + number) % CHANNELS}`,
      author: "bench",
      body: "x".repeat(120),
    });
  return { connection: new Connection(url), read, write };
});
await Promise.all(open.map(({ connection, read }, number) => connection.call(read(number))));

report({ ready: true });
await nextLine();
const start = now();
const end = start + BigInt(Math.round(Number(seconds) * 1e9));
let calls = 0;
const latencies = [];
await Promise.all(
  open.map(async ({ connection, read, write }, number) => {
    for (let i = number * 100_000; now() < end; i++) {
      const called = now();
      await connection.call((i + number) % WRITE_EVERY === 0 ? write(i - (i % WRITE_EVERY)) : read(i));
      latencies.push(milliseconds(called, now()));
      calls++;
    }
  }),
);
report({ calls, perSecond: calls / (milliseconds(start, now()) / 1000), p50: percentile(latencies, 0.5) });
process.exit(0);
