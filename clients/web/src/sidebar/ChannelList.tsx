import type { Channel, Id } from "../api";
import { PlusIcon } from "../app/icons";

type Props = {
  channels: Channel[] | undefined;
  joinedIds: Id<"channels">[] | undefined;
  openId: Id<"channels"> | undefined;
  onOpen: (channelName: string) => void;
  onCreate: () => void;
};

/** All channels of the workspace; those that one has not joined are shown fainter. */
export function ChannelList({ channels, joinedIds, openId, onOpen, onCreate }: Props) {
  return (
    <nav className="section" aria-labelledby="channels-title">
      <div className="section-head">
        <h3 id="channels-title">Channels</h3>
        <button type="button" className="icon-button" aria-label="Create a channel" title="Create a channel" onClick={onCreate}>
          <PlusIcon />
        </button>
      </div>
      <ul>
        {channels?.map((channel) => {
          const isJoined = joinedIds?.includes(channel._id) ?? true;
          return (
            <li key={channel._id}>
              <button
                type="button"
                className={isJoined ? "row" : "row row-faint"}
                aria-current={channel._id === openId ? "page" : undefined}
                aria-label={isJoined ? channel.name : `${channel.name}, not joined`}
                onClick={() => onOpen(channel.name)}
              >
                <span className="hash" aria-hidden="true">
                  #
                </span>
                <span className="row-name">{channel.name}</span>
              </button>
            </li>
          );
        })}
      </ul>
    </nav>
  );
}
