import { ConvexProvider, ConvexReactClient } from "convex/react";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { App } from "./app/App";
import { ErrorBoundary } from "./feedback/ErrorBoundary";
import { ToastProvider } from "./feedback/Toasts";
import "./styles/index.css";

// The built page is served by the server that it talks to.
const client = new ConvexReactClient(import.meta.env.VITE_CONVEX_URL ?? window.location.origin);

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <ConvexProvider client={client}>
      <ErrorBoundary>
        <ToastProvider>
          <App />
        </ToastProvider>
      </ErrorBoundary>
    </ConvexProvider>
  </StrictMode>,
);
