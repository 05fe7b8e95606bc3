/** Short notices of failed calls, in a corner, gone by themselves after a while. */
import { createContext, useCallback, useContext, useMemo, useRef, useState, type ReactNode } from "react";

import { CloseIcon } from "../app/icons";
import { errorText } from "./errorText";

const SHOWN_FOR_MS = 7_000;
const SHOWN_MAX = 4;

type Toast = { key: number; text: string };
type ReportError = (error: unknown) => void;

const ReportContext = createContext<ReportError | null>(null);

/** Returns a function that shows an error as a toast, fit for `promise.catch(reportError)`. */
export function useReportError(): ReportError {
  const report = useContext(ReportContext);
  if (report === null) {
    throw new Error("useReportError outside of ToastProvider");
  }
  return report;
}

export function ToastProvider({ children }: { children: ReactNode }) {
  const [toasts, setToasts] = useState<Toast[]>([]);
  const nextKey = useRef(0);

  const dismiss = useCallback((key: number) => {
    setToasts((shown) => shown.filter((toast) => toast.key !== key));
  }, []);

  const report = useCallback<ReportError>(
    (error) => {
      const key = nextKey.current++;
      setToasts((shown) => [...shown, { key, text: errorText(error) }].slice(-SHOWN_MAX));
      window.setTimeout(() => dismiss(key), SHOWN_FOR_MS);
    },
    [dismiss],
  );

  const list = useMemo(
    () => (
      <div className="toasts" role="region" aria-label="Notices">
        {toasts.map((toast) => (
          <div key={toast.key} className="toast" role="alert">
            <span>{toast.text}</span>
            <button type="button" className="icon-button" aria-label="Dismiss" onClick={() => dismiss(toast.key)}>
              <CloseIcon />
            </button>
          </div>
        ))}
      </div>
    ),
    [toasts, dismiss],
  );

  return (
    <ReportContext value={report}>
      {children}
      {list}
    </ReportContext>
  );
}
