import { Component, type ReactNode } from "react";

import { forgetSession } from "../app/session";

type State = { hasFailed: boolean };

/** What is left when a query fails or a component does: a way to start again. The error itself is in the console. */
export class ErrorBoundary extends Component<{ children: ReactNode }, State> {
  override state: State = { hasFailed: false };

  static getDerivedStateFromError(): State {
    return { hasFailed: true };
  }

  override render() {
    if (!this.state.hasFailed) {
      return this.props.children;
    }
    return (
      <main className="splash" role="alert">
        <h1>Something went wrong</h1>
        <p className="quiet">The browser's console says more.</p>
        <p>
          <button type="button" className="button button-primary" onClick={() => window.location.reload()}>
            Reload
          </button>{" "}
          <button
            type="button"
            className="button"
            onClick={() => {
              forgetSession();
              window.location.reload();
            }}
          >
            Sign in again
          </button>
        </p>
      </main>
    );
  }
}
