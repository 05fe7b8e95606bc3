import { useMutation } from "convex/react";
import { useEffect, useRef, useState, type KeyboardEvent } from "react";

import { api, type Channel, type User } from "../api";
import { SendIcon } from "../app/icons";
import { useReportError } from "../feedback/Toasts";
import { draftOf, keepDraft } from "./drafts";
import { showSent } from "./optimistic";
import { useTypingSignal } from "./typingSignal";

type Props = { channel: Channel; me: User; onEditLast: () => boolean };

/** Where messages are written: Enter sends, Shift+Enter starts a line, the up arrow in an empty one edits the last. */
export function Composer({ channel, me, onEditLast }: Props) {
  const [body, setBody] = useState(() => draftOf(channel._id));
  const textArea = useRef<HTMLTextAreaElement>(null);
  const sendMutation = useMutation(api.messages.send);
  const reportError = useReportError();
  const typing = useTypingSignal(channel._id, me._id);

  useEffect(() => keepDraft(channel._id, body), [channel._id, body]);
  useEffect(() => {
    // On a touch screen this would open the keyboard over the conversation.
    if (window.matchMedia("(hover: hover)").matches) {
      textArea.current!.focus();
    }
  }, []);

  function change(next: string) {
    setBody(next);
    if (next.trim() === "") {
      typing.stop();
    } else {
      typing.keep();
    }
  }

  function send() {
    if (body.trim() === "") {
      return;
    }
    setBody("");
    typing.wasSent();
    const mutate = sendMutation.withOptimisticUpdate(showSent(me, body));
    mutate({ channelId: channel._id, userId: me._id, body }).catch((error: unknown) => {
      reportError(error);
      // Nobody likes to type it again; what was written meanwhile stays.
      setBody((current) => (current === "" ? body : current));
    });
  }

  function onKeyDown(event: KeyboardEvent) {
    if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) {
      event.preventDefault();
      send();
    } else if (event.key === "ArrowUp" && body === "" && onEditLast()) {
      event.preventDefault();
    }
  }

  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <textarea
        ref={textArea}
        className="text-area"
        aria-label={`Message ${channel.name}`}
        placeholder={`Message #${channel.name}`}
        value={body}
        rows={1}
        maxLength={4000}
        onChange={(event) => change(event.target.value)}
        onKeyDown={onKeyDown}
        onBlur={typing.stop}
      />
      <button className="send" aria-label="Send" title="Send (Enter)" disabled={body.trim() === ""}>
        <SendIcon />
      </button>
    </form>
  );
}
