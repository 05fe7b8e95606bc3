import { useQuery } from "convex/react";

import { api, type Channel, type User } from "../api";
import { ChannelHeader } from "./ChannelHeader";
import { Composer } from "./Composer";
import { JoinBar } from "./JoinBar";
import { MessageList } from "./MessageList";
import { TypingLine } from "./TypingLine";
import { useEditing } from "./editing";

type Props = { channel: Channel; me: User; isJoined: boolean; onOpenSidebar: () => void };

export function Conversation({ channel, me, isJoined, onOpenSidebar }: Props) {
  const newestFirst = useQuery(api.messages.list, { channelId: channel._id });
  const editing = useEditing(newestFirst, me);
  return (
    <>
      <ChannelHeader channel={channel} onOpenSidebar={onOpenSidebar} />
      <MessageList channel={channel} newestFirst={newestFirst} me={me} canAct={isJoined} editing={editing} />
      <footer className="conversation-foot">
        <TypingLine channelId={channel._id} me={me} />
        {isJoined ? (
          <Composer channel={channel} me={me} onEditLast={editing.startWithLast} />
        ) : (
          <JoinBar channel={channel} me={me} />
        )}
      </footer>
    </>
  );
}
