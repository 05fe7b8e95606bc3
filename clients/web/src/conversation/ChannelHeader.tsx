import { useQuery } from "convex/react";

import { api, type Channel } from "../api";
import { MenuIcon, PeopleIcon } from "../app/icons";

export function ChannelHeader({ channel, onOpenSidebar }: { channel: Channel; onOpenSidebar: () => void }) {
  const memberIds = useQuery(api.channels.members, { channelId: channel._id });
  return (
    <header className="channel-head">
      <button type="button" className="icon-button narrow-only" aria-label="Open the sidebar" onClick={onOpenSidebar}>
        <MenuIcon />
      </button>
      <div className="channel-title">
        <h1>
          <span className="hash" aria-hidden="true">
            #
          </span>
          {channel.name}
        </h1>
        {channel.topic !== undefined && <p className="quiet">{channel.topic}</p>}
      </div>
      {memberIds !== undefined && (
        <span className="pill" title="People in this channel">
          <PeopleIcon />
          {memberIds.length}
          <span className="visually-hidden"> {memberIds.length === 1 ? "person" : "people"} in this channel</span>
        </span>
      )}
    </header>
  );
}
