import { useState } from "react";

import { PencilIcon, SmileIcon, TrashIcon } from "../app/icons";
import { EmojiMenu } from "./EmojiMenu";

const QUICK_EMOJI = ["👍", "❤️", "🎉"];

type Props = { onReact: (emoji: string) => void; onEdit?: () => void; onDelete?: () => void };

/** What can be done with a message; shown while the pointer or the focus is on it. */
export function MessageActions({ onReact, onEdit, onDelete }: Props) {
  const [isChoosing, setIsChoosing] = useState(false);
  return (
    <div className={isChoosing ? "actions actions-open" : "actions"} role="toolbar" aria-label="Message actions">
      {QUICK_EMOJI.map((emoji) => (
        <button key={emoji} type="button" className="icon-button" aria-label={`React with ${emoji}`} onClick={() => onReact(emoji)}>
          <span className="emoji">{emoji}</span>
        </button>
      ))}
      <button
        type="button"
        className="icon-button"
        aria-label="More reactions"
        title="More reactions"
        aria-haspopup="true"
        aria-expanded={isChoosing}
        onClick={() => setIsChoosing(!isChoosing)}
      >
        <SmileIcon />
      </button>
      {onEdit && (
        <button type="button" className="icon-button" aria-label="Edit message" title="Edit" onClick={onEdit}>
          <PencilIcon />
        </button>
      )}
      {onDelete && (
        <button type="button" className="icon-button icon-button-danger" aria-label="Delete message" title="Delete" onClick={onDelete}>
          <TrashIcon />
        </button>
      )}
      {isChoosing && <EmojiMenu onChoose={onReact} onClose={() => setIsChoosing(false)} />}
    </div>
  );
}
