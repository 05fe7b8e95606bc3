import { useQuery } from "convex/react";
import { useEffect } from "react";

import { api } from "../api";
import { LoginScreen } from "../login/LoginScreen";
import { useSession, type Session } from "./session";
import { WorkspaceScreen } from "./WorkspaceScreen";

export function App() {
  const { session, signIn, signOut } = useSession();
  if (session === null) {
    return <LoginScreen onJoined={signIn} />;
  }
  return <SignedIn session={session} onSignOut={signOut} />;
}

/** Asks whether the remembered user still exists: the database may have been emptied since. */
function SignedIn({ session, onSignOut }: { session: Session; onSignOut: () => void }) {
  const user = useQuery(api.users.get, { userId: session.userId });
  const isGone = user === null;
  useEffect(() => {
    if (isGone) {
      onSignOut();
    }
  }, [isGone, onSignOut]);

  if (!user) {
    return (
      <p className="splash" role="status">
        Connecting…
      </p>
    );
  }
  return <WorkspaceScreen workspaceId={session.workspaceId} me={user} onSignOut={onSignOut} />;
}
