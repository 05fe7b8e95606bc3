// node mutations.mjs URLS CLIENTS SECONDS insert|own|hot: bare sessions, spread over the servers, each sending one
// mutation after the other: inserts, or read-modify-writes of one document a session, or of one document for all.
// Reports throughput, latencies, what went wrong, the share of each server, and what the hot document was counted to.
import { BareSession, result, succeeded } from "./bare.mjs";
import { milliseconds, nextLine, now, percentile, report } from "./targets.mjs";

const [addresses, clients, seconds, kind] = process.argv.slice(2);
const urls = addresses.split(",");
const sessions = await Promise.all(
  Array.from({ length: Number(clients) }, (_, number) => new BareSession(urls[number % urls.length]).connect()),
);
let counters = [];
if (kind !== "insert") {
  const names = kind === "hot" ? ["hot"] : sessions.map((_, number) => `own ${number}`);
  counters = await Promise.all(
    names.map(async (name, number) => result(await sessions[number].mutate("counters:create", { name }))),
  );
}
const padding = "x".repeat(120);
const call = {
  insert: (session, number, i) =>
    session.mutate("messages:send", { channel: `channel ${number}`, author: "bench", body: `message ${i} ${padding}` }),
  own: (session, number) => session.mutate("counters:bump", { id: counters[number] }),
  hot: (session) => session.mutate("counters:bump", { id: counters[0] }),
}[kind];
await Promise.all(sessions.map((session, number) => call(session, number, -1)));

report({ ready: true });
await nextLine();
const start = now();
const end = start + BigInt(Math.round(Number(seconds) * 1e9));
const latencies = [];
const errors = [];
const shares = urls.map(() => 0);
await Promise.all(
  sessions.map(async (session, number) => {
    for (let i = 0; now() < end; i++) {
      const called = now();
      try {
        const response = await call(session, number, i);
        if (!succeeded(response)) errors.push(response);
      } catch (error) {
        errors.push(String(error));
        return;
      }
      latencies.push(milliseconds(called, now()));
      shares[number % urls.length]++;
    }
  }),
);
const elapsed = milliseconds(start, now()) / 1000;
// Every increment must have counted, those that warmed up and this one included.
const counted = kind === "hot" && errors.length === 0 ? result(await call(sessions[0])) : 0;
const lost = counted === 0 ? 0 : latencies.length + sessions.length + 1 - counted;
report({
  sent: latencies.length,
  perSecond: latencies.length / elapsed,
  p50: percentile(latencies, 0.5),
  p99: percentile(latencies, 0.99),
  max: Math.max(...latencies),
  errors: errors.length,
  firstError: errors[0] ?? "",
  lost,
  shares,
});
process.exit(0);
