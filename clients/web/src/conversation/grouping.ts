/** How a list of messages becomes days, and days become runs of one author's messages. */
import type { Message } from "../api";

/** After this pause a message shows its author again. */
const RUN_GAP_MS = 5 * 60_000;

export type Day = { key: string; at: number; runs: Message[][] };

/** Days in order, each with its runs in order; takes what the server sends, newest first. */
export function groupByDay(newestFirst: readonly Message[]): Day[] {
  const days: Day[] = [];
  for (const message of newestFirst.toReversed()) {
    const key = new Date(message.createdAt).toDateString();
    let day = days.at(-1);
    if (day?.key !== key) {
      day = { key, at: message.createdAt, runs: [] };
      days.push(day);
    }
    const run = day.runs.at(-1);
    const previous = run?.at(-1);
    const continues =
      previous !== undefined &&
      previous.author.userId === message.author.userId &&
      message.createdAt - previous.createdAt < RUN_GAP_MS;
    if (continues) {
      run!.push(message);
    } else {
      day.runs.push([message]);
    }
  }
  return days;
}
