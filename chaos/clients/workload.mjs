// node workload.mjs URL NAME CLIENTS PAUSE_MS ACCOUNTS TOTAL: official clients that transfer money and chat, one mutation
// after another each, with live queries held open all the time. Times are milliseconds of the system's monotonic clock.
//
// Reports {ready}, then {ack} or {refused} for each operation, and {broken} for what no client may ever see. Told
// "stop" it ends after the operations under way and reports {stopped}; "pending" asks for those; "compare" lets every
// client compare its live queries with fresh ones, until they agree or 30 s have passed, and reports {compared}.
import { ConvexClient, ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const [url, name, clients, pauseMs, accounts, total] = process.argv.slice(2);
const { bank, chat } = anyApi;
const CHANNELS = 3;
const COMPARE_MS = 30_000;

const now = () => Number(process.hrtime.bigint()) / 1e6;
const report = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const broken = (what, details) => report({ broken: what, ...details });
const pending = new Map();
let stopping = false;

class Client {
  constructor(number) {
    this.name = `${name}.${number}`;
    const neighbour = `${name}.${(number + 1) % Number(clients)}`;
    this.convex = new ConvexClient(url, { logger: false });
    this.channel = `channel ${number % CHANNELS}`;
    this.seen = -1; // the newest message of the neighbour
    this.views = [
      { query: bank.half, path: "bank:half", args: { parity: 0 } },
      { query: bank.half, path: "bank:half", args: { parity: 1 } },
      { query: bank.mine, path: "bank:mine", args: { client: this.name } },
      { query: chat.mine, path: "chat:mine", args: { client: this.name } },
      { query: chat.mine, path: "chat:mine", args: { client: neighbour }, onUpdate: (list) => this.watch(list) },
      { query: chat.newest, path: "chat:newest", args: { channel: this.channel } },
    ];
    for (const view of this.views) {
      view.first = new Promise((resolve) => {
        this.convex.onUpdate(
          view.query,
          view.args,
          (value) => {
            view.value = value;
            view.onUpdate?.(value);
            resolve();
          },
          (error) => broken("a live query failed", { client: this.name, query: view.path, error: error.message }),
        );
      });
    }
    this.convex.client.addOnTransitionHandler(() => this.checkTotal());
  }

  /** Two queries of one Transition show the database at one time (I2). */
  checkTotal() {
    const [even, odd] = [0, 1].map((parity) => this.convex.client.localQueryResult("bank:half", { parity }));
    if (even === undefined || odd === undefined || even + odd === Number(total)) return;
    broken("money was made or lost within one Transition", { client: this.name, even, odd });
  }

  /** Time does not go backwards, whatever server the client is connected to. */
  watch(list) {
    const newest = list[0]?.number ?? -1;
    if (newest < this.seen) broken("a view went back in time", { client: this.name, from: this.seen, to: newest });
    this.seen = newest;
  }

  async work() {
    await sleep(Math.random() * Number(pauseMs));
    for (let number = 0; !stopping; number++) {
      const op = `${this.name}#${number}`;
      const isTransfer = Math.random() < 0.6;
      const from = now();
      pending.set(op, from);
      try {
        await (isTransfer ? this.transfer(op, number) : this.send(op, number));
        report({ ack: op, table: isTransfer ? "transfers" : "messages", from, to: now() });
        this.checkOwn(op, isTransfer ? this.views[2] : this.views[3]);
      } catch (error) {
        report({ refused: op, expected: error.data?.code === "insufficient", error: error.message });
      }
      pending.delete(op);
      await sleep(Number(pauseMs) * (0.5 + Math.random()));
    }
  }

  transfer(op, number) {
    const source = Math.floor(Math.random() * Number(accounts));
    const target = (source + 1 + Math.floor(Math.random() * (Number(accounts) - 1))) % Number(accounts);
    const amount = 1 + Math.floor(Math.random() * 20);
    return this.convex.mutation(bank.transfer, { op, client: this.name, number, source, target, amount });
  }

  send(op, number) {
    return this.convex.mutation(chat.send, { op, client: this.name, number, channel: this.channel });
  }

  /** When a mutation resolves, the client's own queries reflect it (I4). */
  checkOwn(op, view) {
    if (!view.value.some((document) => document.op === op)) {
      broken("a mutation resolved before its effect was seen", { client: this.name, op });
    }
  }

  /** The live queries that still differ from fresh ones after a while. */
  async differences() {
    const fresh = new ConvexHttpClient(url, { logger: false });
    const deadline = now() + COMPARE_MS;
    for (;;) {
      const found = [];
      try {
        for (const view of this.views) {
          const value = await fresh.query(view.query, view.args);
          if (JSON.stringify(value) !== JSON.stringify(view.value)) {
            found.push({ client: this.name, query: view.path, args: view.args, live: view.value, fresh: value });
          }
        }
      } catch (error) {
        found.push({ client: this.name, error: `a fresh query failed: ${error.message}` });
      }
      if (found.length === 0 || now() > deadline) return found;
      await sleep(250);
    }
  }
}

const team = Array.from({ length: Number(clients) }, (_, number) => new Client(number));
let works = [];
const commands = {
  async start() {
    works = team.map((client) => client.work());
  },
  async stop() {
    stopping = true;
    await Promise.all(works);
    report({ stopped: true });
  },
  async pending() {
    report({ pending: [...pending].map(([op, from]) => ({ op, from })) });
  },
  async compare() {
    report({ compared: (await Promise.all(team.map((client) => client.differences()))).flat() });
  },
};
createInterface({ input: process.stdin }).on("line", (line) => commands[line]());
process.stdin.on("end", () => process.exit(0));
await Promise.all(team.flatMap((client) => client.views.map((view) => view.first)));
report({ ready: true });
