export function NoChannels({ onCreate }: { onCreate: () => void }) {
  return (
    <div className="splash">
      <p>There are no channels here yet.</p>
      <button type="button" className="button button-primary" onClick={onCreate}>
        Create the first one
      </button>
    </div>
  );
}
