// A list that somebody else changes all the time, and what is asked of whoever shows it page by page.
import assert from "node:assert/strict";
import { anyApi } from "convex/server";
import { randomUUID } from "node:crypto";
import { openHttpClient } from "./_harness.mjs";

export const pagesApi = anyApi.pages;

/** The same numbers in every run: between 0 and 1. */
export function numbers(seed = 1) {
  let state = seed;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}

export async function newList(ranks) {
  const list = `list ${randomUUID()}`;
  await openHttpClient().mutation(pagesApi.fill, { list, ranks });
  return list;
}

/** Inserts, moves and removes entries anywhere in the list, one after the other, until told to stop. */
export function disturb(list, random = numbers()) {
  const http = openHttpClient();
  let goesOn = true;
  let writes = 0;
  const loop = async () => {
    const ids = (await http.query(pagesApi.whole, { list })).map((entry) => entry._id);
    while (goesOn) {
      const [dice, rank, at] = [random(), Math.round(random() * 1000) / 10, Math.floor(random() * ids.length)];
      if (dice < 0.4 || ids.length < 8) ids.push(await http.mutation(pagesApi.insert, { list, rank, name: `w${writes}` }));
      else if (dice < 0.7) await http.mutation(pagesApi.move, { id: ids[at], rank });
      else await http.mutation(pagesApi.remove, { id: ids.splice(at, 1)[0] });
      writes++;
    }
  };
  const running = loop();
  return { writes: () => writes, stop: () => ((goesOn = false), running) };
}

/** What is shown is the beginning of the list as it is at that moment, and the whole of it where the end was seen. */
export function assertGapless(shown, whole, isAll) {
  const names = (entries) => entries.map((entry) => `${entry.name}@${entry.rank}`);
  assert.deepEqual(names(shown), names(isAll ? whole : whole.slice(0, shown.length)));
}
