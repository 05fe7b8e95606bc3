// The two servers under test, behind one face. Times are process.hrtime: one clock for all processes of a machine.
import { ConvexClient } from "convex/browser";
import { anyApi } from "convex/server";
import { randomUUID } from "node:crypto";
import WebSocket from "ws";

export const now = () => process.hrtime.bigint();
export const milliseconds = (from, to) => Number(to - from) / 1e6;

/** A client as an application would use it: the official one for concave, a bare socket for the baseline. */
export function openClient(target, url) {
  return target === "concave" ? new ConcaveClient(url) : new BaselineClient(url);
}

class ConcaveClient {
  constructor(url) {
    this.client = new ConvexClient(url);
  }
  async ready() {}
  subscribe(channel, onNewest) {
    this.client.onUpdate(anyApi.messages.list, { channel }, (messages) => onNewest(messages[0]?.body ?? ""));
  }
  send(channel, body) {
    return this.client.mutation(anyApi.messages.send, { channel, author: "bench", body });
  }
  close() {
    return this.client.close();
  }
}

class BaselineClient {
  constructor(url) {
    this.socket = new WebSocket(`${url.replace("http", "ws")}/ws`, { perMessageDeflate: false });
    this.waiting = new Map();
    this.nextId = 0;
    this.onNewest = () => {};
    this.socket.on("message", (data) => {
      const message = JSON.parse(data.toString());
      if ("sent" in message) {
        this.waiting.get(message.sent)();
        this.waiting.delete(message.sent);
      } else {
        this.onNewest(message.messages[0]?.body ?? "");
      }
    });
  }
  ready() {
    return new Promise((resolve) => this.socket.on("open", resolve));
  }
  subscribe(channel, onNewest) {
    this.onNewest = onNewest;
    this.socket.send(JSON.stringify({ subscribe: channel }));
  }
  send(channel, body) {
    const id = this.nextId++;
    this.socket.send(JSON.stringify({ id, send: { channel, author: "bench", body } }));
    return new Promise((resolve) => this.waiting.set(id, resolve));
  }
  close() {
    this.socket.close();
  }
}

/** A bare subscriber: enough of the protocol to subscribe, and no parsing, so that the server is what is measured. */
export function openBareSubscriber(target, url, channel, onText) {
  const path = target === "concave" ? "/api/1.48.0/sync" : "/ws";
  const socket = new WebSocket(url.replace("http", "ws") + path, { perMessageDeflate: false });
  socket.on("open", () => {
    if (target === "concave") {
      socket.send(
        JSON.stringify({
          type: "Connect",
          sessionId: randomUUID(),
          connectionCount: 0,
          lastCloseReason: "InitialConnect",
          clientTs: Date.now(),
        }),
      );
      socket.send(
        JSON.stringify({
          type: "ModifyQuerySet",
          baseVersion: 0,
          newVersion: 1,
          modifications: [{ type: "Add", queryId: 0, udfPath: "messages:list", args: [{ channel }] }],
        }),
      );
    } else {
      socket.send(JSON.stringify({ subscribe: channel }));
    }
  });
  socket.on("message", (data) => {
    const text = data.toString("latin1");
    if (!text.startsWith('{"type":"Ping"')) onText(text);
  });
  socket.on("error", (error) => {
    console.error(error);
    process.exit(1);
  });
  return socket;
}

export function percentile(values, fraction) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))];
}

/** Print one JSON line for the harness. */
export const report = (figures) => process.stdout.write(`${JSON.stringify(figures)}\n`);

/** Wait for a line from the harness. */
export function nextLine() {
  return new Promise((resolve) => {
    process.stdin.once("data", () => {
      process.stdin.pause();
      resolve();
    });
    process.stdin.resume();
  });
}
