/** The sidebar on narrow screens: a drawer over the page, closed by Escape, by its button and by opening a channel. */
import { useCallback, useEffect, useState, useSyncExternalStore } from "react";

const narrow = window.matchMedia("(max-width: 46rem)");

export type Drawer = {
  /** The sidebar covers the page, which can neither be clicked nor focused meanwhile. */
  isModal: boolean;
  /** Nothing of the sidebar is to be seen. */
  isHidden: boolean;
  open: () => void;
  close: () => void;
};

export function useDrawer(): Drawer {
  const isNarrow = useSyncExternalStore(subscribe, () => narrow.matches);
  const [isOpen, setIsOpen] = useState(false);
  const open = useCallback(() => setIsOpen(true), []);
  const close = useCallback(() => setIsOpen(false), []);
  const isModal = isNarrow && isOpen;

  useEffect(() => {
    if (!isModal) {
      return;
    }
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.key === "Escape") {
        setIsOpen(false);
      }
    };
    window.addEventListener("keydown", onKeyDown);
    return () => window.removeEventListener("keydown", onKeyDown);
  }, [isModal]);

  return { isModal, isHidden: isNarrow && !isOpen, open, close };
}

function subscribe(onChange: () => void) {
  narrow.addEventListener("change", onChange);
  return () => narrow.removeEventListener("change", onChange);
}
