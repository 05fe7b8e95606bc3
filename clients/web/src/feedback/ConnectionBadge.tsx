import { useConvexConnectionState } from "convex/react";

/** Whether what is on the screen is live, and how many changes wait for the server. */
export function ConnectionBadge() {
  const { isWebSocketConnected, hasEverConnected, inflightMutations } = useConvexConnectionState();
  const state = isWebSocketConnected ? "live" : hasEverConnected ? "reconnecting" : "connecting";
  const waiting = isWebSocketConnected || inflightMutations === 0 ? "" : ` · ${inflightMutations} unsent`;
  return (
    <span className={`badge badge-${state}`} role="status" aria-label={`Connection: ${LABELS[state]}${waiting}`}>
      <span className="badge-dot" />
      {LABELS[state]}
      {waiting}
    </span>
  );
}

const LABELS = { live: "Live", connecting: "Connecting…", reconnecting: "Reconnecting…" } as const;
