import { memo, type ReactNode } from "react";

import { fullText } from "./dates";

/** A message's text with links, `code` and *emphasis*; line breaks are kept by the style sheet. */
export const MessageBody = memo(function MessageBody({ text, editedAt }: { text: string; editedAt?: number | undefined }) {
  return (
    <div className="message-body">
      {marked(text)}
      {editedAt !== undefined && (
        <span className="message-edited" title={fullText(editedAt)}>
          {" "}
          (edited)
        </span>
      )}
    </div>
  );
});

const MARK = /(https?:\/\/[^\s<>]*[^\s<>.,;:!?)"'])|`([^`\n]+)`|(?<![\w*])\*([^\s*](?:[^*\n]*[^\s*])?)\*(?![\w*])/g;

function marked(text: string): ReactNode[] {
  const parts: ReactNode[] = [];
  let end = 0;
  for (const match of text.matchAll(MARK)) {
    const [whole, link, code, emphasis] = match;
    parts.push(text.slice(end, match.index));
    end = match.index + whole.length;
    if (link !== undefined) {
      parts.push(
        <a key={match.index} href={link} target="_blank" rel="noreferrer">
          {link}
        </a>,
      );
    } else if (code !== undefined) {
      parts.push(<code key={match.index}>{code}</code>);
    } else {
      parts.push(<em key={match.index}>{emphasis}</em>);
    }
  }
  parts.push(text.slice(end));
  return parts;
}
