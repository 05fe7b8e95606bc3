// ConvexClient's own pages: each update is the beginning of the list at that moment, while somebody else changes it.
import assert from "node:assert/strict";
import { done, eventually, openClient } from "./_harness.mjs";
import { assertGapless, disturb, newList, pagesApi } from "./_list.mjs";

const list = await newList(Array.from({ length: 20 }, (_, i) => i * 5));
const client = openClient();
const local = () => client.client.localQueryResult("pages:whole", { list });
const updates = [];
client.onUpdate(pagesApi.whole, { list }, () => {});
const stop = client.onPaginatedUpdate_experimental(
  pagesApi.page,
  { list },
  { initialNumItems: 5 },
  (pages) => updates.push({ ...pages, whole: local() }),
);
const newest = () => updates.at(-1);
await eventually(() => newest()?.status === "CanLoadMore" && local(), "the first page");
assert.equal(newest().results.length, 5);

const writer = disturb(list);
for (let round = 0; newest().status !== "Exhausted" || round < 6; round++) {
  if (newest().status === "CanLoadMore") newest().loadMore(5);
  const [seen, written] = [updates.length, writer.writes()];
  await eventually(() => updates.length > seen + 3 && writer.writes() > written + 3, "changes are delivered");
}
await writer.stop();
await eventually(() => newest().results.length === local().length, "everything is there in the end");
for (const { results, status, whole } of updates) if (whole) assertGapless(results, whole, status === "Exhausted");
stop();
await done(client);
