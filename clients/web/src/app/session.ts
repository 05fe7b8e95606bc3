/** Who this browser acts for: a display-name login, remembered until signing out. */
import { useState } from "react";

import type { Id } from "../api";

export type Session = { userId: Id<"users">; workspaceId: Id<"workspaces"> };

const KEY = "concave.session";

export function useSession() {
  const [session, setSession] = useState(read);
  return {
    session,
    signIn(next: Session) {
      localStorage.setItem(KEY, JSON.stringify(next));
      setSession(next);
    },
    signOut() {
      forgetSession();
      setSession(null);
    },
  };
}

export function forgetSession() {
  localStorage.removeItem(KEY);
}

function read(): Session | null {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(KEY) ?? "null");
    return isSession(stored) ? stored : null;
  } catch {
    return null; // not JSON: written by something else, or cut short
  }
}

function isSession(value: unknown): value is Session {
  return (
    typeof value === "object" &&
    value !== null &&
    "userId" in value &&
    typeof value.userId === "string" &&
    "workspaceId" in value &&
    typeof value.workspaceId === "string"
  );
}
