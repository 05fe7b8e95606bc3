import { useMutation } from "convex/react";
import { useState, type FormEvent } from "react";

import { api } from "../api";
import type { Session } from "../app/session";
import { errorText } from "../feedback/errorText";

/** Asks for a display name. There are no passwords yet: whoever types a name acts as its person. */
export function LoginScreen({ onJoined }: { onJoined: (session: Session) => void }) {
  const join = useMutation(api.users.join);
  const [displayName, setDisplayName] = useState("");
  const [isJoining, setIsJoining] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);

  async function submit(event: FormEvent) {
    event.preventDefault();
    setIsJoining(true);
    setProblem(null);
    try {
      onJoined(await join({ displayName }));
    } catch (error) {
      setProblem(errorText(error));
      setIsJoining(false);
    }
  }

  return (
    <main className="login">
      <form className="login-card" onSubmit={(event) => void submit(event)}>
        <img className="login-mark" src="/favicon.svg" alt="" width={44} height={44} />
        <h1>Join the workspace</h1>
        <p className="quiet">Pick the name that others will see. You can come back under it later.</p>
        <label className="field">
          <span>Display name</span>
          <input
            value={displayName}
            onChange={(event) => setDisplayName(event.target.value)}
            placeholder="Ada Lovelace"
            autoComplete="nickname"
            maxLength={40}
            required
            autoFocus
            aria-invalid={problem !== null}
            aria-describedby={problem === null ? undefined : "login-problem"}
          />
        </label>
        {problem !== null && (
          <p id="login-problem" className="problem" role="alert">
            {problem}
          </p>
        )}
        <button className="button button-primary" disabled={isJoining || displayName.trim() === ""}>
          {isJoining ? "Joining…" : "Join"}
        </button>
      </form>
    </main>
  );
}
