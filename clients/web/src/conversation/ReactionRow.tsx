import type { Reaction } from "../api";
import { usePeople } from "../people/people";

type Props = { reactions: Reaction[]; canAct: boolean; onToggle: (emoji: string) => void };

export function ReactionRow({ reactions, canAct, onToggle }: Props) {
  const { me, nameOf } = usePeople();
  if (reactions.length === 0) {
    return null;
  }
  return (
    <div className="reactions">
      {reactions.map(({ emoji, userIds }) => {
        const names = userIds.map((userId) => (userId === me ? "you" : nameOf(userId))).join(", ");
        return (
          <button
            key={emoji}
            type="button"
            className="reaction"
            aria-pressed={userIds.includes(me)}
            aria-label={`${emoji} ${userIds.length}: ${names}`}
            title={names}
            disabled={!canAct}
            onClick={() => onToggle(emoji)}
          >
            <span className="emoji">{emoji}</span>
            <span className="reaction-count">{userIds.length}</span>
          </button>
        );
      })}
    </div>
  );
}
