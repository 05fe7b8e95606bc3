/**
 * The functions that this page calls, with the types of their arguments and results.
 *
 * Written by hand after the modules under `schema/`; a reference is nothing but a name ("messaging/messages:send").
 */
import { makeFunctionReference, type DefaultFunctionArgs } from "convex/server";
import type { GenericId } from "convex/values";

export type Id<Table extends string> = GenericId<Table>;

export type User = {
  _id: Id<"users">;
  _creationTime: number;
  displayName: string;
  handle: string;
  title?: string;
  imageUrl?: string;
};

export type Workspace = {
  _id: Id<"workspaces">;
  _creationTime: number;
  name: string;
  slug: string;
};

export type Person = {
  userId: Id<"users">;
  displayName: string;
  title?: string;
  imageUrl?: string;
  role: "owner" | "admin" | "member" | "guest";
};

export type Channel = {
  _id: Id<"channels">;
  _creationTime: number;
  workspaceId: Id<"workspaces">;
  name: string;
  topic?: string;
  isDefault: boolean;
  createdBy: Id<"users">;
};

export type Reaction = { emoji: string; userIds: Id<"users">[] };

export type Message = {
  _id: Id<"messages">;
  _creationTime: number;
  channelId: Id<"channels">;
  body: string;
  createdAt: number;
  editedAt?: number;
  author: { userId: Id<"users">; displayName: string; imageUrl?: string };
  reactions: Reaction[];
  /** Only in this page: sent, but not confirmed by the server yet. */
  pending?: true;
};

export type TypingIndicator = { userId: Id<"users">; displayName: string; expiresAt: number };

const query = <Args extends DefaultFunctionArgs, Result>(name: string) =>
  makeFunctionReference<"query", Args, Result>(name);
const mutation = <Args extends DefaultFunctionArgs, Result>(name: string) =>
  makeFunctionReference<"mutation", Args, Result>(name);

type InWorkspace = { workspaceId: Id<"workspaces"> };
type InChannel = { channelId: Id<"channels"> };
type OfMessage = { messageId: Id<"messages"> };
/** Until authentication lands, the page says for whom it acts. */
type Actor = { userId: Id<"users"> };

export const api = {
  users: {
    join: mutation<{ displayName: string }, { userId: Id<"users">; workspaceId: Id<"workspaces"> }>("auth/users:join"),
    get: query<{ userId: string }, User | null>("auth/users:get"),
  },
  workspaces: {
    get: query<InWorkspace, Workspace | null>("workspaces/workspaces:get"),
    members: query<InWorkspace, Person[]>("workspaces/members:list"),
  },
  channels: {
    list: query<InWorkspace, Channel[]>("messaging/channels:list"),
    create: mutation<InWorkspace & Actor & { name: string; topic?: string }, Id<"channels">>("messaging/channels:create"),
    mine: query<InWorkspace & Actor, Id<"channels">[]>("messaging/members:channelsOf"),
    members: query<InChannel, Id<"users">[]>("messaging/members:list"),
    join: mutation<InChannel & Actor, null>("messaging/members:join"),
  },
  messages: {
    list: query<InChannel, Message[]>("messaging/messages:list"),
    send: mutation<InChannel & Actor & { body: string }, Id<"messages">>("messaging/messages:send"),
    edit: mutation<OfMessage & Actor & { body: string }, null>("messaging/messages:edit"),
    delete: mutation<OfMessage & Actor, null>("messaging/messages:delete"),
  },
  reactions: {
    toggle: mutation<OfMessage & Actor & { emoji: string }, boolean>("messaging/reactions:toggle"),
  },
  typing: {
    list: query<InChannel, TypingIndicator[]>("messaging/typing:list"),
    start: mutation<InChannel & Actor, null>("messaging/typing:start"),
    stop: mutation<InChannel & Actor, null>("messaging/typing:stop"),
  },
};
