// node mix.mjs URLS CLIENTS SECONDS: every client, over a bare connection of its own, reads the latest 50 messages of
// channels in turn, and once in twenty calls sends a message to one. Requests are made beforehand and replies are not
// parsed: one such process can keep several servers busy.
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

const open = Array.from({ length: Number(clients) }, (_, number) => {
  const url = urls[number % urls.length];
  const reads = Array.from({ length: CHANNELS }, (_, channel) =>
    requestOf(url, "query", "messages:list", { channel: `channel ${channel}` }),
  );
  const writes = Array.from({ length: CHANNELS }, (_, channel) =>
    requestOf(url, "mutation", "messages:send", {
      channel: `channel ${channel}`,
      author: "bench",
      body: "x".repeat(120),
    }),
  );
  return { connection: new Connection(url), reads, writes };
});
await Promise.all(open.map(({ connection, reads }) => connection.call(reads[0])));

report({ ready: true });
await nextLine();
const start = now();
const end = start + BigInt(Math.round(Number(seconds) * 1e9));
let calls = 0;
const latencies = [];
await Promise.all(
  open.map(async ({ connection, reads, writes }, number) => {
    for (let i = number * 7; now() < end; i++) {
      const called = now();
      await connection.call(i % WRITE_EVERY === 0 ? writes[(i / WRITE_EVERY + number) % CHANNELS] : reads[i % CHANNELS]);
      latencies.push(milliseconds(called, now()));
      calls++;
    }
  }),
);
report({ calls, perSecond: calls / (milliseconds(start, now()) / 1000), p50: percentile(latencies, 0.5) });
process.exit(0);
