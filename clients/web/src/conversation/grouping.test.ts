import { expect, test } from "vitest";

import type { Id, Message } from "../api";
import { groupByDay } from "./grouping";

const noon = new Date(2024, 4, 6, 12).getTime();
const MINUTE = 60_000;

function message(author: string, createdAt: number): Message {
  return {
    _id: `${author}@${createdAt}` as Id<"messages">,
    _creationTime: createdAt,
    channelId: "c" as Id<"channels">,
    body: "",
    createdAt,
    author: { userId: author as Id<"users">, displayName: author },
    reactions: [],
  };
}

/** Author initials of each run, runs by day; `groupByDay` wants the newest first. */
function shape(...oldestFirst: Message[]) {
  return groupByDay(oldestFirst.reverse()).map((day) =>
    day.runs.map((run) => run.map((one) => one.author.userId).join("")),
  );
}

test("one author's messages within five minutes are one run", () => {
  expect(
    shape(
      message("a", noon),
      message("a", noon + 4 * MINUTE),
      message("a", noon + 8 * MINUTE),
      message("a", noon + 13 * MINUTE),
    ),
  ).toEqual([["aaa", "a"]]);
});

test("another author ends a run", () => {
  expect(shape(message("a", noon), message("b", noon + 1), message("a", noon + 2))).toEqual([["a", "b", "a"]]);
});

test("midnight ends a run, too", () => {
  const midnight = new Date(2024, 4, 7).getTime();
  expect(shape(message("a", midnight - 1), message("a", midnight))).toEqual([["a"], ["a"]]);
});

test("no messages, no days", () => {
  expect(groupByDay([])).toEqual([]);
});
