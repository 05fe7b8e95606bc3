/** What was typed and not sent, by channel, while the page is open. */
const drafts = new Map<string, string>();

export const draftOf = (channelId: string) => drafts.get(channelId) ?? "";

export function keepDraft(channelId: string, body: string) {
  if (body === "") {
    drafts.delete(channelId);
  } else {
    drafts.set(channelId, body);
  }
}
