/** Keeps a list scrolled to its end while its reader is there; says so when something new arrives out of sight. */
import { useCallback, useEffect, useLayoutEffect, useRef, useState, type RefObject } from "react";

import type { Message, User } from "../api";

/** This near to the end counts as being there, in pixels. */
const SLACK_PX = 40;

export function useStickToEnd(
  scroller: RefObject<HTMLDivElement | null>,
  newestFirst: Message[] | undefined,
  me: User,
) {
  const isAtEnd = useRef(true);
  const newestId = useRef<string | undefined>(undefined);
  const [hasUnseen, setHasUnseen] = useState(false);

  const goToEnd = useCallback(() => {
    const element = scroller.current!;
    element.scrollTop = element.scrollHeight;
  }, [scroller]);

  const onScroll = useCallback(() => {
    const { scrollTop, scrollHeight, clientHeight } = scroller.current!;
    isAtEnd.current = scrollHeight - scrollTop - clientHeight < SLACK_PX;
    if (isAtEnd.current) {
      setHasUnseen(false);
    }
  }, [scroller]);

  useLayoutEffect(() => {
    const newest = newestFirst?.[0];
    const isNew = newest !== undefined && newest._id !== newestId.current;
    newestId.current = newest?._id;
    if (isAtEnd.current || (isNew && newest.author.userId === me._id)) {
      goToEnd();
    } else if (isNew) {
      setHasUnseen(true);
    }
  }, [newestFirst, me, goToEnd]);

  // The composer grows, a phone's keyboard opens: the end moves though no message came.
  useEffect(() => {
    const observer = new ResizeObserver(() => {
      if (isAtEnd.current) {
        goToEnd();
      }
    });
    observer.observe(scroller.current!);
    return () => observer.disconnect();
  }, [scroller, goToEnd]);

  return { hasUnseen, goToEnd, onScroll };
}
