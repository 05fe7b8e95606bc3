// Clients that send mutations one after the other until stdin is closed, through whatever happens to the server.
// Prints a line for each answer, and at the end what they saw.
import { ConvexClient } from "convex/browser";
import { anyApi } from "convex/server";

const url = process.env.CONVEX_URL;
const clientCount = Number(process.argv[2]);
const said = [];
for (const name of ["log", "warn", "error"]) console[name] = (...words) => said.push(words.join(" "));

let stopped = false;
process.stdin.on("end", () => (stopped = true));
process.stdin.resume();

const sent = [];
let gapMax = 0;

async function keepSending(number) {
  const client = new ConvexClient(url);
  let newest;
  client.onUpdate(anyApi.messages.count, { channel: `rolling ${number}` }, (count) => (newest = count));
  let count = 0;
  while (!stopped) {
    const body = `${number}/${count}`;
    const began = performance.now();
    await client.mutation(anyApi.messages.send, { channel: `rolling ${number}`, body });
    gapMax = Math.max(gapMax, performance.now() - began);
    count += 1;
    sent.push(body);
    // I4: what was acknowledged is seen.
    if (newest !== count) throw new Error(`${count} were acknowledged, and ${newest} are seen`);
    process.stdout.write(`${number}\n`);
  }
  await client.close();
}

await Promise.all(Array.from({ length: clientCount }, (_, number) => keepSending(number)));
process.stdout.write(JSON.stringify({ sent, gapMax, said }) + "\n");
process.exit(0);
