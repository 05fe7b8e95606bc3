import { useEffect, useId, useRef, type ReactNode } from "react";

type Props = { title: string; children: ReactNode; onClose: () => void };

/** A modal dialog: the browser's own, which keeps the focus inside and closes on Escape. */
export function Dialog({ title, children, onClose }: Props) {
  const element = useRef<HTMLDialogElement>(null);
  const titleId = useId();

  useEffect(() => {
    const dialog = element.current!;
    dialog.showModal();
    // React focuses `autoFocus` elements before the dialog is shown, when they cannot take the focus yet.
    dialog.querySelector<HTMLElement>("input, textarea")?.focus();
    return () => dialog.close();
  }, []);

  return (
    <dialog
      ref={element}
      className="dialog"
      aria-labelledby={titleId}
      onCancel={(event) => {
        event.preventDefault(); // the parent takes the dialog away
        onClose();
      }}
    >
      <h2 id={titleId}>{title}</h2>
      {children}
    </dialog>
  );
}
