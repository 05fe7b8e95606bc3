import type { CSSProperties } from "react";

type Props = { userId: string; displayName: string; imageUrl?: string | undefined; size?: "small" | "large" };

/** A person's picture, or their initials on a colour of their own. The name beside it says who it is, so it is silent. */
export function Avatar({ userId, displayName, imageUrl, size = "large" }: Props) {
  if (imageUrl !== undefined) {
    return <img className={`avatar avatar-${size}`} src={imageUrl} alt="" />;
  }
  return (
    <span
      className={`avatar avatar-${size}`}
      style={{ "--hue": hueOf(userId) } as CSSProperties}
      aria-hidden="true"
    >
      {initialsOf(displayName)}
    </span>
  );
}

/** First letters of the first and the last word; of a single word its first letter. */
export function initialsOf(displayName: string): string {
  const words = displayName.split(/\s+/).filter(Boolean);
  const chosen = words.length > 1 ? [words[0]!, words[words.length - 1]!] : words;
  return chosen.map((word) => [...word][0]!.toUpperCase()).join("");
}

/** One of twelve hues, the same for a person on every screen. */
export function hueOf(userId: string): number {
  // FNV-1a with a last mixing step: ids that differ in one character get colours that differ.
  let hash = 0x811c9dc5;
  for (let i = 0; i < userId.length; i++) {
    hash = Math.imul(hash ^ userId.charCodeAt(i), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (((hash ^ (hash >>> 13)) >>> 0) % 12) * 30;
}
