import { useMutation } from "convex/react";

import { api, type Channel, type User } from "../api";
import { useReportError } from "../feedback/Toasts";

/** In the composer's place for those who only look: joining is what lets them write. */
export function JoinBar({ channel, me }: { channel: Channel; me: User }) {
  const join = useMutation(api.channels.join);
  const reportError = useReportError();
  return (
    <div className="join-bar">
      <span>You are looking at #{channel.name}.</span>
      <button
        type="button"
        className="button button-primary"
        onClick={() => join({ channelId: channel._id, userId: me._id }).catch(reportError)}
      >
        Join channel
      </button>
    </div>
  );
}
