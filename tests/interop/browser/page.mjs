// What runs in Chromium: hooks of ConvexReactClient, and ConvexClient and ConvexHttpClient beside it, shown as text.
import { ConvexClient, ConvexHttpClient } from "convex/browser";
import { ConvexProvider, ConvexReactClient, useAction, useMutation, usePaginatedQuery, useQuery } from "convex/react";
import { anyApi } from "convex/server";
import { createElement as h, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

const { url, channel } = Object.fromEntries(new URLSearchParams(location.search));
const api = anyApi.messages;
const plain = new ConvexClient(url);
const http = new ConvexHttpClient(url);

function useOutcome() {
  const [outcome, setOutcome] = useState("");
  const report = (promise) =>
    promise.then((value) => setOutcome(JSON.stringify(value)), (error) => setOutcome(`failed: ${JSON.stringify(error.data)}`));
  return [outcome, report];
}

function App() {
  const list = useQuery(api.list, { channel });
  const pages = usePaginatedQuery(api.pages, { channel }, { initialNumItems: 2 });
  const send = useMutation(api.send).withOptimisticUpdate((store, { body }) => {
    const now = store.getQuery(api.list, { channel });
    if (now) store.setQuery(api.list, { channel }, [...now, { _id: "pending", body }]);
  });
  const refuse = useMutation(api.refuse);
  const sendAll = useAction(api.send_all);
  const [count, setCount] = useState();
  useEffect(() => plain.onUpdate(api.count, { channel }, setCount), []);
  const [outcome, report] = useOutcome();
  const button = (name, act) => h("button", { key: name, onClick: () => report(act()) }, name);
  const items = (entries) => entries.map((entry, i) => h("li", { key: i }, entry.body));
  return [
    h("ol", { key: "list", "aria-label": "list" }, items(list ?? [])),
    h("ol", { key: "pages", "aria-label": "pages" }, items(pages.results)),
    h("output", { key: "status", "aria-label": "status" }, pages.status),
    h("output", { key: "count", "aria-label": "count" }, count),
    h("output", { key: "outcome", "aria-label": "outcome" }, outcome),
    button("send", () => send({ channel, body: `message ${list.length}` })),
    button("refuse", () => refuse({ data: { code: "full" } })),
    button("send two", () => sendAll({ channel, bodies: ["one", "two"] })),
    button("count by http", () => http.query(api.count, { channel })),
    button("more", async () => pages.loadMore(2)),
  ];
}

const client = new ConvexReactClient(url);
createRoot(document.body).render(h(ConvexProvider, { client }, h(App)));
