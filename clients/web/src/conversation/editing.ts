/** Which message is being edited, if any; one at a time. */
import { useState } from "react";

import type { Id, Message, User } from "../api";

export type Editing = {
  messageId: Id<"messages"> | null;
  start: (messageId: Id<"messages">) => void;
  /** Starts with the newest message of one's own; returns whether there was one. */
  startWithLast: () => boolean;
  stop: () => void;
};

export function useEditing(newestFirst: Message[] | undefined, me: User): Editing {
  const [messageId, setMessageId] = useState<Id<"messages"> | null>(null);
  return {
    messageId,
    start: setMessageId,
    startWithLast() {
      const last = newestFirst?.find((message) => message.author.userId === me._id && !message.pending);
      if (last === undefined) {
        return false;
      }
      setMessageId(last._id);
      return true;
    },
    stop: () => setMessageId(null),
  };
}
