import { useQuery } from "convex/react";
import { useEffect, useState } from "react";

import { api, type Id, type TypingIndicator, type User } from "../api";

/** "Maya is typing…". Expired indicators are dropped here: the server's list does not change because time passed. */
export function TypingLine({ channelId, me }: { channelId: Id<"channels">; me: User }) {
  const indicators = useQuery(api.typing.list, { channelId });
  const current = useUnexpired(indicators ?? []).filter((one) => one.userId !== me._id);
  return (
    <p className="typing" role="status" aria-label="Typing">
      {current.length > 0 && (
        <>
          <span className="typing-dots" aria-hidden="true">
            <i />
            <i />
            <i />
          </span>
          {typingText(current.map((one) => one.displayName))}
        </>
      )}
    </p>
  );
}

function useUnexpired(indicators: TypingIndicator[]): TypingIndicator[] {
  const [, rerender] = useState(0);
  const now = Date.now();
  const current = indicators.filter((one) => one.expiresAt > now);
  const next = current.length === 0 ? null : Math.min(...current.map((one) => one.expiresAt));
  useEffect(() => {
    if (next === null) {
      return;
    }
    const timer = window.setTimeout(() => rerender((count) => count + 1), next - Date.now() + 1);
    return () => window.clearTimeout(timer);
  }, [next]);
  return current;
}

export function typingText(names: string[]): string {
  const [first, second] = names;
  switch (names.length) {
    case 1:
      return `${first} is typing…`;
    case 2:
      return `${first} and ${second} are typing…`;
    default:
      return `${first}, ${second} and ${names.length - 2} more are typing…`;
  }
}
