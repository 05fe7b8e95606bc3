import { useRef, type KeyboardEvent } from "react";

import type { Channel, Message, User } from "../api";
import { dayText } from "./dates";
import type { Editing } from "./editing";
import { groupByDay } from "./grouping";
import { MessageRow } from "./MessageRow";
import { useStickToEnd } from "./stickToEnd";

/** As many as the server sends at most. */
const PAGE_LENGTH = 50;

type Props = {
  channel: Channel;
  newestFirst: Message[] | undefined;
  me: User;
  canAct: boolean;
  editing: Editing;
};

/** The conversation, oldest at the top. Arrow keys move between messages, Tab goes on to a message's buttons. */
export function MessageList({ channel, newestFirst, me, canAct, editing }: Props) {
  const scroller = useRef<HTMLDivElement>(null);
  const { hasUnseen, goToEnd, onScroll } = useStickToEnd(scroller, newestFirst, me);

  return (
    <div className="scroller" ref={scroller} onScroll={onScroll}>
      <div className="log" role="log" aria-label={`Messages in ${channel.name}`} onKeyDown={moveBetweenMessages}>
        {newestFirst === undefined ? (
          <p className="log-note quiet">Loading messages…</p>
        ) : newestFirst.length === 0 ? (
          <p className="log-note quiet">This is the very beginning of #{channel.name}. Say something!</p>
        ) : (
          newestFirst.length >= PAGE_LENGTH && (
            <p className="log-note quiet">The latest {PAGE_LENGTH} messages are shown.</p>
          )
        )}
        {groupByDay(newestFirst ?? []).map((day) => (
          <section key={day.key} className="day">
            <h2 className="day-title">
              <span>{dayText(day.at, Date.now())}</span>
            </h2>
            {day.runs.map((run) =>
              run.map((message, index) => (
                <MessageRow
                  key={message._id}
                  message={message}
                  isFirstOfRun={index === 0}
                  isTabStop={message === newestFirst?.[0]}
                  me={me}
                  canAct={canAct}
                  isEdited={editing.messageId === message._id}
                  onEdit={() => editing.start(message._id)}
                  onEditDone={editing.stop}
                />
              )),
            )}
          </section>
        ))}
      </div>
      {hasUnseen && (
        <button type="button" className="button button-primary unseen" onClick={goToEnd}>
          New messages ↓
        </button>
      )}
    </div>
  );
}

/** Of all messages only the newest is reached by Tab; the others by the arrow keys from there. */
function moveBetweenMessages(event: KeyboardEvent<HTMLDivElement>) {
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  const focused = event.target as HTMLElement;
  if (step === undefined || !focused.matches("article")) {
    return;
  }
  const all = [...event.currentTarget.querySelectorAll<HTMLElement>("article")];
  const next = all[all.indexOf(focused) + step];
  if (next !== undefined) {
    event.preventDefault();
    next.focus();
  }
}
