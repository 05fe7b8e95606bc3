/** Tells the others that one is typing: at the first key, again every few seconds, and when it is over. */
import { useMutation } from "convex/react";
import { useEffect, useMemo } from "react";

import { api, type Id } from "../api";

/** The server shows an indicator for 8 seconds; this leaves room for a slow network. */
const REPEAT_MS = 4_000;

export function useTypingSignal(channelId: Id<"channels">, userId: Id<"users">) {
  const start = useMutation(api.typing.start);
  const stop = useMutation(api.typing.stop);

  const signal = useMemo(() => {
    let toldAt: number | null = null;
    // Nobody has to be told that an indicator failed; it is gone at the next one, or by itself.
    const ignore = () => undefined;
    return {
      keep() {
        const now = Date.now();
        if (toldAt === null || now - toldAt >= REPEAT_MS) {
          toldAt = now;
          start({ channelId, userId }).catch(ignore);
        }
      },
      stop() {
        if (toldAt !== null) {
          toldAt = null;
          stop({ channelId, userId }).catch(ignore);
        }
      },
      /** Sending a message ends the indicator on the server, too. */
      wasSent() {
        toldAt = null;
      },
    };
  }, [channelId, userId, start, stop]);

  useEffect(() => signal.stop, [signal]);
  return signal;
}
