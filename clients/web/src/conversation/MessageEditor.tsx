import { useMutation } from "convex/react";
import { useEffect, useRef, useState, type KeyboardEvent } from "react";

import { api, type Message, type User } from "../api";
import { useReportError } from "../feedback/Toasts";

type Props = { message: Message; me: User; onDone: () => void };

export function MessageEditor({ message, me, onDone }: Props) {
  const edit = useMutation(api.messages.edit);
  const reportError = useReportError();
  const [body, setBody] = useState(message.body);
  const textArea = useRef<HTMLTextAreaElement>(null);

  useEffect(() => {
    const element = textArea.current!;
    element.focus();
    element.setSelectionRange(element.value.length, element.value.length);
  }, []);

  function save() {
    if (body.trim() === "") {
      return;
    }
    if (body !== message.body) {
      edit({ messageId: message._id, userId: me._id, body }).catch(reportError);
    }
    onDone();
  }

  function onKeyDown(event: KeyboardEvent) {
    event.stopPropagation();
    if (event.key === "Escape") {
      onDone();
    } else if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) {
      event.preventDefault();
      save();
    }
  }

  return (
    <div className="editor">
      <textarea
        ref={textArea}
        className="text-area"
        aria-label="Edit message"
        value={body}
        rows={1}
        maxLength={4000}
        onChange={(event) => setBody(event.target.value)}
        onKeyDown={onKeyDown}
      />
      <div className="editor-foot">
        <span className="quiet">Enter to save, Escape to cancel</span>
        <button type="button" className="button button-small" onClick={onDone}>
          Cancel
        </button>
        <button type="button" className="button button-small button-primary" disabled={body.trim() === ""} onClick={save}>
          Save
        </button>
      </div>
    </div>
  );
}
