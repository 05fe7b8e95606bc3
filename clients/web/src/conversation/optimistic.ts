/** What the page shows before the server has answered. Each is undone and replaced by the server's result in one step. */
import type { OptimisticLocalStore } from "convex/browser";

import { api, type Id, type Message, type Reaction, type User } from "../api";

/**
 * Shows a message that is being sent. An optimistic update runs again whenever results arrive, so id and time are fixed
 * here, once for each sending.
 */
export function showSent(me: User, body: string) {
  const _id = `pending:${crypto.randomUUID()}` as Id<"messages">;
  const createdAt = Date.now();
  return (store: OptimisticLocalStore, { channelId }: { channelId: Id<"channels"> }) => {
    const shown = store.getQuery(api.messages.list, { channelId });
    if (shown === undefined) {
      return;
    }
    const author = {
      userId: me._id,
      displayName: me.displayName,
      ...(me.imageUrl === undefined ? {} : { imageUrl: me.imageUrl }),
    };
    const message: Message = {
      _id,
      _creationTime: createdAt,
      channelId,
      body: body.trim(),
      createdAt,
      author,
      reactions: [],
      pending: true,
    };
    store.setQuery(api.messages.list, { channelId }, [message, ...shown]);
  };
}

type ToggleArgs = { messageId: Id<"messages">; userId: Id<"users">; emoji: string };

/** Shows a reaction as put or taken away, wherever its message is shown. */
export function showToggled(store: OptimisticLocalStore, { messageId, userId, emoji }: ToggleArgs) {
  for (const { args, value } of store.getAllQueries(api.messages.list)) {
    if (value?.some((message) => message._id === messageId)) {
      const next = value.map((message) =>
        message._id === messageId ? { ...message, reactions: toggled(message.reactions, userId, emoji) } : message,
      );
      store.setQuery(api.messages.list, args, next);
    }
  }
}

export function toggled(reactions: Reaction[], userId: Id<"users">, emoji: string): Reaction[] {
  const existing = reactions.find((reaction) => reaction.emoji === emoji);
  if (existing === undefined) {
    return [...reactions, { emoji, userIds: [userId] }];
  }
  const userIds = existing.userIds.includes(userId)
    ? existing.userIds.filter((one) => one !== userId)
    : [...existing.userIds, userId];
  return reactions
    .map((reaction) => (reaction === existing ? { emoji, userIds } : reaction))
    .filter((reaction) => reaction.userIds.length > 0);
}
