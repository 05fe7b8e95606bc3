// The scenarios that `record.py` records with the npm clients. Without an argument: prints their names.
import { createRequire } from "node:module";
import { setTimeout as pause } from "node:timers/promises";

const require = createRequire(new URL("../interop/package.json", import.meta.url));
const { ConvexClient } = require("convex/browser");
const { anyApi, makeFunctionReference } = require("convex/server");
const { BaseConvexClient: OldestClient } = require("convex-oldest/browser");
const { WebSocket } = require("ws");

const url = process.env.CONVEX_URL;
const name = process.argv[2];
const api = anyApi.messages;
const pages = anyApi.pages;
const channel = name;
const list = name;
const silent = Object.fromEntries(["log", "logVerbose", "warn", "error"].map((level) => [level, () => {}]));

// Connections that break on purpose: at once, or when a message of some type is about to be heard.
const sockets = [];
let breaksAt = null;
class BreakableSocket extends WebSocket {
  constructor(...args) {
    super(...args);
    sockets.push(this);
    this.on("error", () => {});
  }
  emit(event, ...args) {
    if (event === "message" && breaksAt && JSON.parse(args[0]).type === breaksAt) {
      breaksAt = null;
      // Everything that the server says to it has been said by then.
      setTimeout(() => this.terminate(), 150);
      this.isDeaf = true;
    }
    return event === "message" && this.isDeaf ? true : super.emit(event, ...args);
  }
}
const breakNow = () => sockets.at(-1).terminate();
const open = () => new ConvexClient(url, { logger: silent, webSocketConstructor: BreakableSocket });
const rejected = (promise) => promise.then(() => Promise.reject(new Error("expected a rejection")), (error) => error);

/** Resolves with the newest result that fits. */
function follow(client, query, args, fits = () => true) {
  return new Promise((resolve, reject) => client.onUpdate(query, args, (value) => fits(value) && resolve(value), reject));
}

const scenarios = {
  connect: ["A client without queries", async () => void open()],
  query: ["One query", () => follow(open(), api.list, { channel })],
  query_once: ["A query that is asked once: added, answered, removed", () => open().query(api.count, { channel })],
  queries_at_once: [
    "Three queries in one go",
    async () => {
      const client = open();
      await Promise.all([
        follow(client, api.list, { channel }),
        follow(client, api.count, { channel }),
        follow(client, api.echo, { value: "x" }),
      ]);
    },
  ],
  unsubscribe: [
    "A query is dropped, and what it would have shown is not sent",
    async () => {
      const client = open();
      const stop = client.onUpdate(api.list, { channel }, () => {});
      await follow(client, api.count, { channel });
      stop();
      await pause(200);
      await client.mutation(api.send, { channel, body: "unheard" });
    },
  ],
  subscribe_again: [
    "A query that was dropped and is added again has a new id",
    async () => {
      const client = open();
      for (let i = 0; i < 2; i++) {
        await new Promise((resolve) => {
          const stop = client.onUpdate(api.count, { channel }, () => (stop(), resolve()));
        });
        await pause(200);
      }
    },
  ],
  mutation: [
    "A mutation shows in the caller's own query: first the response, then the Transition that covers it",
    async () => {
      const client = open();
      await follow(client, api.list, { channel });
      await client.mutation(api.send, { channel, body: "first" });
    },
  ],
  mutation_alone: ["A mutation without any query is covered by an empty Transition", () => open().mutation(api.send, { channel, body: "x" })],
  mutation_of_nothing: [
    "A mutation that writes nothing is covered by a Transition all the same",
    async () => {
      const client = open();
      await follow(client, api.list, { channel });
      await client.mutation(api.nothing, {});
    },
  ],
  result_unchanged: [
    "A query that comes out the same is not sent again",
    async () => {
      const client = open();
      const id = await client.mutation(api.send, { channel, body: "before" });
      await follow(client, api.count, { channel });
      await client.mutation(api.edit, { id, body: "after" });
    },
  ],
  edit_and_remove: [
    "A document is changed, and removed",
    async () => {
      const client = open();
      await follow(client, api.list, { channel });
      const id = await client.mutation(api.send, { channel, body: "before" });
      await client.mutation(api.edit, { id, body: "after" });
      await client.mutation(api.remove, { id });
    },
  ],
  mutations_at_once: [
    "Five mutations in one go are answered in order",
    async () => {
      const client = open();
      await follow(client, api.list, { channel });
      await Promise.all([0, 1, 2, 3, 4].map((i) => client.mutation(api.send, { channel, body: `${i}` })));
    },
  ],
  optimistic_update: [
    "An optimistic update is the client's affair",
    async () => {
      const client = open();
      await follow(client, api.list, { channel });
      const optimisticUpdate = (store) => store.setQuery(api.list, { channel }, []);
      await client.mutation(api.send, { channel, body: "first" }, { optimisticUpdate });
    },
  ],
  two_clients: [
    "One client hears of another's mutation",
    async () => {
      const [reader, writer] = [open(), open()];
      const heard = follow(reader, api.list, { channel }, (messages) => messages.length === 1);
      await pause(300);
      await writer.mutation(api.send, { channel, body: "to all" });
      await heard;
    },
  ],
  action: ["An action, and its result", () => open().action(api.echo_action, { value: [1, "two"] })],
  action_that_writes: [
    "An action's mutations reach live queries while it runs",
    async () => {
      const client = open();
      await follow(client, api.count, { channel });
      await client.action(api.send_all, { channel, bodies: ["one"] });
    },
  ],
  values: [
    "Every kind of value, there and back",
    () =>
      open().mutation(api.echo_mutation, {
        value: [null, true, 1n, -9223372036854775808n, 0.5, -0, NaN, -Infinity, "ü\u0000\ud83d\ude42", new ArrayBuffer(3), { "a.b": [] }],
      }),
  ],
  log_lines: ["What a function prints travels with its result", () => open().query(api.logs, {})],
  mutation_crashes: ["A mutation with a bug", () => rejected(open().mutation(api.crash, {}))],
  mutation_refuses: ["A mutation that raises ConvexError", () => rejected(open().mutation(api.refuse, { data: { code: 7n } }))],
  query_refuses: [
    "A live query that raises ConvexError: errorData is there, even as null",
    () => rejected(follow(open(), api.refuse_query, { data: null })),
  ],
  bad_arguments: [
    "Arguments that do not fit, of a query and of a mutation",
    async () => {
      const client = open();
      await rejected(client.query(api.list, { channel: 7 }));
      await rejected(client.mutation(api.send, { channel }));
    },
  ],
  no_such_function: [
    "Functions that are missing, internal, or of another kind",
    async () => {
      const client = open();
      await rejected(client.query(api.lst, { channel }));
      await rejected(client.query(api.hidden, {}));
      await rejected(client.mutation(api.list, { channel }));
    },
  ],
  spellings: [
    "Three spellings of one function's name",
    async () => {
      const client = open();
      await client.mutation(makeFunctionReference("messages:nothing"), {});
      await client.mutation(makeFunctionReference("messages.js:nothing"), {});
      await client.query(makeFunctionReference("messages.js:count"), { channel });
    },
  ],
  reconnect: [
    "After a break all queries are sent again, and answered again",
    async () => {
      const client = open();
      await follow(client, api.list, { channel });
      await client.mutation(api.send, { channel, body: "before" });
      await pause(200);
      breakNow();
      await client.mutation(api.send, { channel, body: "after" });
    },
  ],
  response_lost: [
    "A mutation whose response was lost is sent again, and answered with its first result",
    async () => {
      const client = open();
      await follow(client, api.count, { channel });
      breaksAt = "MutationResponse";
      await client.mutation(api.increment, { name: channel });
      await client.mutation(api.increment, { name: channel });
    },
  ],
  failure_lost: [
    "A mutation whose failure was lost is run again",
    async () => {
      const client = open();
      await follow(client, api.count, { channel });
      breaksAt = "MutationResponse";
      await rejected(client.mutation(api.refuse, { data: "no" }));
    },
  ],
  action_lost: [
    "An action whose answer was lost fails at the client, and is not sent again",
    async () => {
      const client = open();
      await follow(client, api.count, { channel });
      breaksAt = "ActionResponse";
      await rejected(client.action(api.send_all, { channel, bodies: ["one"] }));
      await follow(client, api.list, { channel });
    },
  ],
  page_grows: [
    "A page keeps its end while entries come into it, also when it comes back after a break with its journal",
    async () => {
      const client = open();
      await client.mutation(pages.fill, { list, ranks: [0, 10, 20, 30] });
      const args = { list, paginationOpts: { numItems: 2, cursor: null, id: 1 } };
      await follow(client, pages.page, args);
      const { _id } = await client.mutation(pages.insert, { list, rank: 5, name: "between" });
      await pause(200);
      breakNow();
      await client.mutation(pages.insert, { list, rank: 15, name: "beyond" });
    },
  ],
  page_splits: [
    "ConvexClient's pages: the next one, and one that has grown and is split",
    async () => {
      const client = open();
      await client.mutation(pages.fill, { list, ranks: [0, 10, 20] });
      let newest;
      const options = { initialNumItems: 2 };
      client.onPaginatedUpdate_experimental(pages.page, { list }, options, (result) => (newest = result));
      await pause(300);
      newest.loadMore(2);
      await pause(300);
      await client.mutation(pages.fill, { list, ranks: [1, 2, 3] });
      await pause(500);
    },
  ],
  cursor_invalid: [
    "A list that turns round: the cursor of its page is worth nothing",
    async () => {
      const client = open();
      await client.mutation(pages.fill, { list, ranks: [0, 10] });
      const failed = rejected(follow(client, pages.page, { list, paginationOpts: { numItems: 1, cursor: null, id: 1 } }, () => false));
      await pause(300);
      await client.mutation(pages.turn, { list });
      await failed;
    },
  ],
  oldest_client: [
    "npm 1.0, the oldest that speaks this protocol: a query, a mutation, and a reconnect",
    async () => {
      const frames = [];
      const options = { webSocketConstructor: BreakableSocket, unsavedChangesWarning: false };
      const client = new OldestClient(url, () => frames.push(client.localQueryResult("messages:list", { channel })), options);
      client.subscribe("messages:list", { channel });
      await client.mutation("messages:send", { channel, body: "first" });
      await pause(200);
      breakNow();
      await client.mutation("messages:send", { channel, body: "second" });
    },
  ],
};

if (name === undefined) {
  console.log(Object.keys(scenarios).join("\n"));
} else {
  const [title, play] = scenarios[name];
  console.log(`# ${title}.`);
  await play();
  await pause(300);
  process.exit(0);
}
