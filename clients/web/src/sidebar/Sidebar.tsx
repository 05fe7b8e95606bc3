import type { ReactNode } from "react";

import type { Channel, Id, User } from "../api";
import type { Drawer } from "../app/drawer";
import { CloseIcon, SignOutIcon } from "../app/icons";
import { Avatar } from "../people/Avatar";
import { ChannelList } from "./ChannelList";
import { MemberList } from "./MemberList";

type Props = {
  workspaceName: string;
  channels: Channel[] | undefined;
  joinedIds: Id<"channels">[] | undefined;
  openId: Id<"channels"> | undefined;
  me: User;
  drawer: Drawer;
  badge: ReactNode;
  onOpen: (channelName: string) => void;
  onCreate: () => void;
  onSignOut: () => void;
};

export function Sidebar(props: Props) {
  const { workspaceName, me, drawer, badge, onSignOut } = props;
  return (
    <>
      {drawer.isModal && <div className="scrim" onClick={drawer.close} />}
      <div className={drawer.isModal ? "sidebar sidebar-open" : "sidebar"} inert={drawer.isHidden}>
        <header className="sidebar-head">
          <h2>{workspaceName}</h2>
          {badge}
          <button type="button" className="icon-button narrow-only" aria-label="Close the sidebar" onClick={drawer.close}>
            <CloseIcon />
          </button>
        </header>
        <div className="sidebar-body">
          <ChannelList {...props} />
          <MemberList />
        </div>
        <footer className="sidebar-foot">
          <Avatar userId={me._id} displayName={me.displayName} imageUrl={me.imageUrl} size="small" />
          <span className="sidebar-me">{me.displayName}</span>
          <button type="button" className="icon-button" aria-label="Sign out" title="Sign out" onClick={onSignOut}>
            <SignOutIcon />
          </button>
        </footer>
      </div>
    </>
  );
}
