import { useMutation } from "convex/react";
import { useState } from "react";

import { api, type Message, type User } from "../api";
import { useReportError } from "../feedback/Toasts";
import { Avatar } from "../people/Avatar";
import { fullText, timeText } from "./dates";
import { DeleteDialog } from "./DeleteDialog";
import { MessageActions } from "./MessageActions";
import { MessageBody } from "./MessageBody";
import { MessageEditor } from "./MessageEditor";
import { ReactionRow } from "./ReactionRow";
import { showToggled } from "./optimistic";

type Props = {
  message: Message;
  /** The first of its author's messages in a row shows who that is. */
  isFirstOfRun: boolean;
  isTabStop: boolean;
  me: User;
  canAct: boolean;
  isEdited: boolean;
  onEdit: () => void;
  onEditDone: () => void;
};

export function MessageRow(props: Props) {
  const { message, isFirstOfRun, isTabStop, me, canAct, isEdited, onEdit, onEditDone } = props;
  const toggle = useMutation(api.reactions.toggle).withOptimisticUpdate(showToggled);
  const reportError = useReportError();
  const [isDeleting, setIsDeleting] = useState(false);

  const { author } = message;
  const isMine = author.userId === me._id;
  const react = (emoji: string) => {
    toggle({ messageId: message._id, userId: me._id, emoji }).catch(reportError);
  };

  return (
    <article
      className={`message${isFirstOfRun ? " message-first" : ""}${message.pending ? " message-pending" : ""}`}
      aria-label={`${author.displayName}, ${timeText(message.createdAt)}`}
      aria-busy={message.pending ?? false}
      tabIndex={isTabStop ? 0 : -1}
    >
      <div className="message-gutter">
        {isFirstOfRun ? (
          <Avatar userId={author.userId} displayName={author.displayName} imageUrl={author.imageUrl} />
        ) : (
          <Time at={message.createdAt} />
        )}
      </div>
      <div className="message-content">
        {isFirstOfRun && (
          <div className="message-head">
            <span className="message-author">{author.displayName}</span>
            <Time at={message.createdAt} />
          </div>
        )}
        {isEdited ? (
          <MessageEditor message={message} me={me} onDone={onEditDone} />
        ) : (
          <MessageBody text={message.body} editedAt={message.editedAt} />
        )}
        <ReactionRow reactions={message.reactions} canAct={canAct && !message.pending} onToggle={react} />
      </div>
      {canAct && !message.pending && !isEdited && (
        <MessageActions onReact={react} {...(isMine ? { onEdit, onDelete: () => setIsDeleting(true) } : {})} />
      )}
      {isDeleting && <DeleteDialog message={message} me={me} onClose={() => setIsDeleting(false)} />}
    </article>
  );
}

function Time({ at }: { at: number }) {
  return (
    <time className="message-time" dateTime={new Date(at).toISOString()} title={fullText(at)}>
      {timeText(at)}
    </time>
  );
}
