// A page that has grown beyond twice its first size is split by the client; renders do not show it. A list that turns
// round makes all cursors invalid: the hook begins again from page one.
import assert from "node:assert/strict";
import { usePaginatedQuery, usePaginatedQuery_experimental, useQuery } from "convex/react";
import { done, eventually, openHttpClient } from "./_harness.mjs";
import { assertGapless, newList, pagesApi } from "./_list.mjs";
import { mount, networkOf, openReactClient } from "./_react.mjs";

const http = openHttpClient();

function show(usePages, list) {
  const modifications = [];
  const network = networkOf({
    onSend: (message) => message.type === "ModifyQuerySet" && modifications.push(...message.modifications),
  });
  const client = openReactClient({ webSocketConstructor: network.webSocketConstructor });
  const shown = mount(client, () => ({
    whole: useQuery(pagesApi.whole, { list }),
    pages: usePages(pagesApi.page, { list }, { initialNumItems: 4 }),
  }));
  const pagesAsked = () =>
    modifications.filter((m) => m.type === "Add" && m.udfPath === "pages:page").map((m) => m.args[0].paginationOpts);
  return { ...shown, client, modifications, pagesAsked };
}

async function split(usePages) {
  const list = await newList([0, 10, 20, 30, 40, 50]);
  const { client, frames, newest, modifications, pagesAsked } = show(usePages, list);
  await eventually(() => newest().pages?.status === "CanLoadMore" && newest().whole, "the first page");
  newest().pages.loadMore(4);
  await eventually(() => newest().pages.status === "Exhausted", "the second page");
  for (let i = 1; i <= 12; i++) await http.mutation(pagesApi.insert, { list, rank: 10 + i / 2, name: `new ${i}` });
  await eventually(() => newest().pages.results.length === 18, "the page has grown");
  await eventually(() => modifications.some((m) => m.type === "Remove"), "the old page is given up");
  const [first, second] = pagesAsked().filter((options) => options.endCursor);
  assert.equal(first.endCursor, second.cursor, "the halves meet at the split");
  assert.equal(first.cursor, null);
  await http.mutation(pagesApi.insert, { list, rank: 12.2, name: "afterwards" });
  await eventually(() => newest().pages.results.length === 19, "the halves are live");
  for (const { pages, whole } of frames) if (whole) assertGapless(pages.results, whole, pages.status === "Exhausted");
  await client.close();
}

async function turn() {
  const list = await newList([0, 10, 20, 30, 40, 50]);
  const { client, newest, pagesAsked } = show(usePaginatedQuery, list);
  await eventually(() => newest().pages?.status === "CanLoadMore" && newest().whole, "the first page");
  newest().pages.loadMore(1);
  await eventually(() => newest().pages.results.length === 5, "the second page");
  await http.mutation(pagesApi.turn, { list });
  await eventually(() => newest().pages.results[0]?.rank === 50 && newest().whole[0].rank === 50, "it began again");
  assert.deepEqual(newest().pages.results.map((entry) => entry.rank), [50, 40, 30, 20]);
  assert.equal(newest().pages.status, "CanLoadMore");
  assert.equal(new Set(pagesAsked().map((options) => options.id)).size, 2, "with an id of its own");
  await client.close();
}

await Promise.all([split(usePaginatedQuery), split(usePaginatedQuery_experimental), turn()]);
await done();
