/** Which channel is open, kept in the address as `#/general` so that links, reloading and going back work. */
import { useCallback, useSyncExternalStore } from "react";

export function useChannelInAddress(): [name: string | null, goTo: (name: string) => void] {
  const name = useSyncExternalStore(subscribe, read);
  const goTo = useCallback((next: string) => {
    window.location.hash = `/${encodeURIComponent(next)}`;
  }, []);
  return [name, goTo];
}

function subscribe(onChange: () => void) {
  window.addEventListener("hashchange", onChange);
  return () => window.removeEventListener("hashchange", onChange);
}

function read(): string | null {
  const match = /^#\/(.+)$/.exec(window.location.hash);
  try {
    return match?.[1] === undefined ? null : decodeURIComponent(match[1]);
  } catch {
    return null; // a broken percent sequence, typed by hand
  }
}
