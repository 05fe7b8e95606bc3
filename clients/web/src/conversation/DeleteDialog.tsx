import { useMutation } from "convex/react";

import { api, type Message, type User } from "../api";
import { Dialog } from "../app/Dialog";
import { useReportError } from "../feedback/Toasts";

type Props = { message: Message; me: User; onClose: () => void };

export function DeleteDialog({ message, me, onClose }: Props) {
  const remove = useMutation(api.messages.delete);
  const reportError = useReportError();
  return (
    <Dialog title="Delete this message?" onClose={onClose}>
      <blockquote className="dialog-quote">{message.body}</blockquote>
      <div className="dialog-actions">
        <button type="button" className="button" onClick={onClose}>
          Keep it
        </button>
        <button
          type="button"
          className="button button-danger"
          onClick={() => {
            remove({ messageId: message._id, userId: me._id }).catch(reportError);
            onClose();
          }}
        >
          Delete
        </button>
      </div>
    </Dialog>
  );
}
