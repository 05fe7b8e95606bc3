import { useLayoutEffect, useRef, useState, type FocusEvent, type KeyboardEvent } from "react";

const EMOJI = ["👍", "👎", "❤️", "😂", "😮", "😢", "🎉", "🚀", "👀", "🙏", "👏", "🔥", "💡", "✅", "❓", "👋", "☕", "🐈"];

type Props = { onChoose: (emoji: string) => void; onClose: () => void };

/** A small grid of emoji at the button that opened it; Escape, choosing and leaving it close it. */
export function EmojiMenu({ onChoose, onClose }: Props) {
  const element = useRef<HTMLDivElement>(null);

  const [opensUpwards, setOpensUpwards] = useState(false);

  useLayoutEffect(() => {
    const menu = element.current!;
    const visible = menu.closest(".scroller")!.getBoundingClientRect();
    setOpensUpwards(menu.getBoundingClientRect().bottom > visible.bottom);
    menu.querySelector("button")!.focus({ preventScroll: true });
  }, []);

  function onBlur(event: FocusEvent) {
    // Focus may move within the toolbar, whose own button closes the menu as well.
    if (!element.current!.parentElement!.contains(event.relatedTarget)) {
      onClose();
    }
  }

  function onKeyDown(event: KeyboardEvent) {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -6, ArrowDown: 6 }[event.key];
    if (event.key === "Escape") {
      onClose();
      element.current!.closest("article")?.focus();
    } else if (step !== undefined) {
      event.preventDefault();
      const buttons = [...element.current!.querySelectorAll("button")];
      buttons[buttons.indexOf(event.target as HTMLButtonElement) + step]?.focus();
    }
  }

  return (
    <div
      ref={element}
      className={opensUpwards ? "emoji-menu emoji-menu-up" : "emoji-menu"}
      role="group"
      aria-label="Reactions"
      onBlur={onBlur}
      onKeyDown={onKeyDown}
    >
      {EMOJI.map((emoji) => (
        <button
          key={emoji}
          type="button"
          className="icon-button"
          aria-label={`React with ${emoji}`}
          onClick={() => {
            onChoose(emoji);
            onClose();
          }}
        >
          <span className="emoji">{emoji}</span>
        </button>
      ))}
    </div>
  );
}
