import { useMutation } from "convex/react";
import { useState, type FormEvent } from "react";

import { api, type Id, type User } from "../api";
import { Dialog } from "../app/Dialog";
import { errorText } from "../feedback/errorText";

type Props = {
  workspaceId: Id<"workspaces">;
  me: User;
  onCreated: (channelName: string) => void;
  onClose: () => void;
};

export function NewChannelDialog({ workspaceId, me, onCreated, onClose }: Props) {
  const create = useMutation(api.channels.create);
  const [typedName, setTypedName] = useState("");
  const [topic, setTopic] = useState("");
  const [isCreating, setIsCreating] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const name = storedForm(typedName);

  async function submit(event: FormEvent) {
    event.preventDefault();
    setIsCreating(true);
    setProblem(null);
    try {
      await create({ workspaceId, userId: me._id, name, ...(topic.trim() === "" ? {} : { topic }) });
      onCreated(name);
      onClose();
    } catch (error) {
      setProblem(errorText(error));
      setIsCreating(false);
    }
  }

  return (
    <Dialog title="Create a channel" onClose={onClose}>
      <form className="dialog-form" onSubmit={(event) => void submit(event)}>
        <label className="field">
          <span>Name</span>
          <input
            value={typedName}
            onChange={(event) => setTypedName(event.target.value)}
            placeholder="release-notes"
            maxLength={32}
            required
            autoFocus
            autoComplete="off"
            aria-invalid={problem !== null}
            aria-describedby={problem === null ? undefined : "channel-problem"}
          />
        </label>
        <label className="field">
          <span>
            Topic <span className="quiet">(optional)</span>
          </span>
          <input value={topic} onChange={(event) => setTopic(event.target.value)} maxLength={120} autoComplete="off" />
        </label>
        {problem !== null && (
          <p id="channel-problem" className="problem" role="alert">
            {problem}
          </p>
        )}
        <div className="dialog-actions">
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
          <button className="button button-primary" disabled={isCreating || name === ""}>
            Create
          </button>
        </div>
      </form>
    </Dialog>
  );
}

/** What people type, nearer to a channel's name: lower case, dashes for blanks. The server has the last word. */
function storedForm(typed: string): string {
  return typed.trim().replace(/^#/, "").toLowerCase().replace(/\s+/g, "-");
}
