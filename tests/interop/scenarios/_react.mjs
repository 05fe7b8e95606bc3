// Components without a page: hooks run in react-test-renderer, and every render's outcome is kept.
import { ConvexProvider, ConvexReactClient } from "convex/react";
import { Component, createElement } from "react";
import { create } from "react-test-renderer";
import { WebSocket } from "ws";
import { url } from "./_harness.mjs";

// The renderer says at every use that it is deprecated.
const complain = console.error;
console.error = (...args) => String(args[0]).includes("react-test-renderer is deprecated") || complain(...args);

export function openReactClient(options = {}) {
  return new ConvexReactClient(url, { webSocketConstructor: WebSocket, unsavedChangesWarning: false, ...options });
}

/**
 * Renders a component that calls `useHooks` and nothing else. `frames` holds what it returned, newest last; `failures`
 * what it threw, where an error boundary would catch it.
 */
export function mount(client, useHooks) {
  const frames = [];
  const failures = [];
  function Shown() {
    frames.push(useHooks());
    return null;
  }
  class Boundary extends Component {
    state = { failed: false };
    static getDerivedStateFromError = () => ({ failed: true });
    componentDidCatch = (error) => failures.push(error);
    render = () => (this.state.failed ? null : createElement(Shown));
  }
  const root = create(createElement(ConvexProvider, { client }, createElement(Boundary)), {
    unstable_isConcurrent: true,
  });
  return { frames, failures, newest: () => frames.at(-1) ?? {}, unmount: () => root.unmount() };
}

/**
 * A network for one client: `break()` ends its connection without a close frame, after which it reconnects by itself;
 * `onSend` sees every message that it sends.
 */
export function networkOf(options = {}) {
  const sockets = new Set();
  class BreakableSocket extends WebSocket {
    constructor(...args) {
      super(...args);
      sockets.add(this);
      this.on("close", () => sockets.delete(this));
      this.on("error", () => {});
    }
    send(text, ...rest) {
      options.onSend?.(JSON.parse(text));
      super.send(text, ...rest);
    }
  }
  return { webSocketConstructor: BreakableSocket, break: () => sockets.forEach((socket) => socket.terminate()) };
}
