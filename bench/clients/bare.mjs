// Bare sockets: as much of the sync protocol as a benchmark needs, and no parsing of what it does not look at, so that
// the server is what is measured.
import { randomUUID } from "node:crypto";
import WebSocket from "ws";

/** One session, of a client that names no version and so is sent no chunks. `mutate` resolves as the official client does: when a Transition has followed the response. */
export class BareSession {
  constructor(url) {
    this.nextId = 0;
    this.response = null;
    this.resolve = null;
    this.onClosed = null;
    this.querySet = 0;
    this.onTransition = () => {};
    this.socket = new WebSocket(`${url.replace("http", "ws")}/api/sync`, {
      perMessageDeflate: false,
      skipUTF8Validation: true,
    });
    this.socket.on("message", (data) => this.receive(data.toString("latin1")));
    this.socket.on("close", (code, reason) => this.onClosed?.(new Error(`closed: ${code} ${reason}`)));
    this.socket.on("error", (error) => this.onClosed?.(error));
  }

  async connect() {
    await new Promise((resolve, reject) => {
      this.socket.on("open", resolve);
      this.onClosed = reject;
    });
    this.send({
      type: "Connect",
      sessionId: randomUUID(),
      connectionCount: 0,
      lastCloseReason: "InitialConnect",
      clientTs: Date.now(),
    });
    return this;
  }

  /** Add queries, all at once: `[{path, args}]`. Resolves at the first Transition that holds a result. */
  subscribe(queries) {
    this.send({
      type: "ModifyQuerySet",
      baseVersion: this.querySet,
      newVersion: ++this.querySet,
      modifications: queries.map(({ path, args }, number) => ({
        type: "Add",
        queryId: this.querySet * 10_000 + number,
        udfPath: path,
        args: [args],
      })),
    });
    return new Promise((resolve, reject) => {
      this.onClosed = reject;
      this.onTransition = (text) => text.includes('"QueryUpdated"') && resolve();
    });
  }

  /** The text of the response. Rejects when the socket closes. */
  mutate(path, args) {
    this.send({ type: "Mutation", requestId: this.nextId++, udfPath: path, args: [args] });
    return new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.onClosed = reject;
    });
  }

  send(message) {
    this.socket.send(JSON.stringify(message));
  }

  receive(text) {
    if (text.startsWith('{"type":"MutationResponse"')) {
      this.response = text;
      if (text.includes('"success":false')) this.settle(); // no Transition follows a failure
    } else if (text.startsWith('{"type":"Transition"')) {
      this.onTransition(text);
      if (this.response !== null) this.settle();
    }
  }

  settle() {
    const { response, resolve } = this;
    this.response = this.resolve = null;
    resolve(response);
  }
}

export const succeeded = (response) => response.includes('"success":true');

/** The result of a mutation, out of its response. */
export const result = (response) => JSON.parse(response).result;
