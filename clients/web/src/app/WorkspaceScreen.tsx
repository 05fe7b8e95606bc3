import { useQuery } from "convex/react";
import { useCallback, useEffect, useState } from "react";

import { api, type Id, type User } from "../api";
import { Conversation } from "../conversation/Conversation";
import { ConnectionBadge } from "../feedback/ConnectionBadge";
import { PeopleProvider } from "../people/people";
import { NewChannelDialog } from "../sidebar/NewChannelDialog";
import { Sidebar } from "../sidebar/Sidebar";
import { NoChannels } from "./NoChannels";
import { useChannelInAddress } from "./address";
import { useDrawer } from "./drawer";

type Props = { workspaceId: Id<"workspaces">; me: User; onSignOut: () => void };

export function WorkspaceScreen({ workspaceId, me, onSignOut }: Props) {
  const workspace = useQuery(api.workspaces.get, { workspaceId });
  const channels = useQuery(api.channels.list, { workspaceId });
  const joinedIds = useQuery(api.channels.mine, { workspaceId, userId: me._id });
  const members = useQuery(api.workspaces.members, { workspaceId });
  const [nameInAddress, goTo] = useChannelInAddress();
  const [isCreating, setIsCreating] = useState(false);
  const drawer = useDrawer();

  const channel =
    channels?.find((one) => one.name === nameInAddress) ??
    channels?.find((one) => one.isDefault) ??
    channels?.[0];

  const workspaceName = workspace?.name ?? "Workspace";
  useEffect(() => {
    document.title = channel ? `#${channel.name} · ${workspaceName}` : workspaceName;
  }, [channel, workspaceName]);

  const startCreating = useCallback(() => setIsCreating(true), []);
  const closeDrawer = drawer.close;
  const openChannel = useCallback(
    (name: string) => {
      goTo(name);
      closeDrawer();
    },
    [goTo, closeDrawer],
  );

  return (
    <PeopleProvider people={members} me={me._id}>
      <div className="workspace">
        <Sidebar
          workspaceName={workspaceName}
          channels={channels}
          joinedIds={joinedIds}
          openId={channel?._id}
          me={me}
          drawer={drawer}
          onOpen={openChannel}
          onCreate={startCreating}
          onSignOut={onSignOut}
          badge={<ConnectionBadge />}
        />
        <main className="main" inert={drawer.isModal}>
          {channel && joinedIds ? (
            <Conversation
              key={channel._id}
              channel={channel}
              me={me}
              isJoined={joinedIds.includes(channel._id)}
              onOpenSidebar={drawer.open}
            />
          ) : channels?.length === 0 ? (
            <NoChannels onCreate={startCreating} />
          ) : (
            <p className="splash" role="status">
              Loading…
            </p>
          )}
        </main>
        {isCreating && (
          <NewChannelDialog
            workspaceId={workspaceId}
            me={me}
            onCreated={openChannel}
            onClose={() => setIsCreating(false)}
          />
        )}
      </div>
    </PeopleProvider>
  );
}
