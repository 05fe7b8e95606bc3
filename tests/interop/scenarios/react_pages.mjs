// Both paginated hooks while entries come, move and go in every page, and the connection breaks: each render shows the
// beginning of the list as it is at that moment, without a gap and without a duplicate.
import assert from "node:assert/strict";
import { usePaginatedQuery, usePaginatedQuery_experimental, useQuery } from "convex/react";
import { done, eventually } from "./_harness.mjs";
import { assertGapless, disturb, newList, numbers, pagesApi } from "./_list.mjs";
import { mount, networkOf, openReactClient } from "./_react.mjs";

async function follow(usePages, seed) {
  const list = await newList(Array.from({ length: 40 }, (_, i) => i * 2.5));
  const journals = [];
  const network = networkOf({
    onSend: ({ type, modifications }) => {
      if (type === "ModifyQuerySet") journals.push(...modifications.map((m) => m.journal).filter(Boolean));
    },
  });
  const client = openReactClient({ webSocketConstructor: network.webSocketConstructor });
  const { frames, newest } = mount(client, () => ({
    whole: useQuery(pagesApi.whole, { list }),
    pages: usePages(pagesApi.page, { list }, { initialNumItems: 6 }),
  }));
  await eventually(() => newest().pages?.status === "CanLoadMore" && newest().whole, "the first page");
  assert.deepEqual([newest().pages.results.length, newest().pages.isLoading], [6, false]);

  const writer = disturb(list, numbers(seed + 1));
  for (let round = 0; newest().pages.status !== "Exhausted"; round++) {
    if (newest().pages.status === "CanLoadMore") newest().pages.loadMore(6);
    const [seen, written] = [frames.length, writer.writes()];
    await eventually(() => frames.length > seen + 3 && writer.writes() > written + 5, "changes are rendered");
    if (round === 1) network.break();
  }
  const [seen, written] = [frames.length, writer.writes()];
  network.break();
  await eventually(() => frames.length > seen + 10 && writer.writes() > written + 10, "changes after a reconnect");
  await writer.stop();
  await eventually(() => newest().pages.results.length === newest().whole.length, "everything is shown in the end");

  for (const { pages, whole } of frames) {
    if (whole !== undefined) assertGapless(pages.results, whole, pages.status === "Exhausted");
  }
  assert(journals.length > 0, "pages came back with their journals");
  await client.close();
}

await Promise.all([usePaginatedQuery, usePaginatedQuery_experimental].map(follow));
await done();
