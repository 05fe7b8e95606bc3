// node reads.mjs TARGET URL CLIENTS SECONDS: every client reads the latest 50 messages of one channel, one after the other.
import http from "node:http";
import { milliseconds, now, report } from "./targets.mjs";

const [target, url, clients, seconds] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: Number(clients) });
const body = JSON.stringify({
  path: "messages:list",
  args: [{ channel: "channel 0" }],
  format: "convex_encoded_json",
});

function read() {
  return new Promise((resolve, reject) => {
    const request =
      target === "concave"
        ? http.request(`${url}/api/query`, {
            agent,
            method: "POST",
            headers: { "Content-Type": "application/json", "Content-Length": body.length },
          })
        : http.request(`${url}/messages?channel=channel%200`, { agent });
    request.on("error", reject);
    request.on("response", (response) => {
      let length = 0;
      response.on("data", (chunk) => (length += chunk.length));
      response.on("end", () => (response.statusCode === 200 && length > 1000 ? resolve() : reject(new Error(`${response.statusCode}, ${length} bytes`))));
    });
    request.end(target === "concave" ? body : undefined);
  });
}

const start = now();
const end = start + BigInt(Math.round(Number(seconds) * 1e9));
let reads = 0;
await Promise.all(
  Array.from({ length: Number(clients) }, async () => {
    while (now() < end) {
      await read();
      reads++;
    }
  }),
);
report({ reads, perSecond: reads / (milliseconds(start, now()) / 1000) });
process.exit(0);
