// What the scenarios share: clients, and waiting for a condition instead of for time.
import { ConvexClient, ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";
import { randomUUID } from "node:crypto";

export const url = process.env.CONVEX_URL;
export const api = anyApi.messages;
export const channel = `channel ${randomUUID()}`;

export function openClient(options = {}) {
  return new ConvexClient(url, options);
}

export function openHttpClient() {
  return new ConvexHttpClient(url);
}

/** Resolves with the value when `condition()` gives one that is not undefined or false; fails after 10 s. */
export async function eventually(condition, what) {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const value = condition();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The results that a subscription has delivered so far, newest last. */
export function follow(client, query, args) {
  const results = [];
  const failures = [];
  const stop = client.onUpdate(query, args, (value) => results.push(value), (error) => failures.push(error));
  return { results, failures, stop, newest: () => results.at(-1) };
}

export async function rejected(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("expected a rejection");
}

export async function done(...clients) {
  for (const client of clients) await client.close?.();
  console.log("ok");
  process.exit(0);
}
