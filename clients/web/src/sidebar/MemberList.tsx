import { Avatar } from "../people/Avatar";
import { usePeople } from "../people/people";

export function MemberList() {
  const { list, me } = usePeople();
  return (
    <section className="section" aria-labelledby="members-title">
      <div className="section-head">
        <h3 id="members-title">Members</h3>
        {list !== undefined && <span className="count">{list.length}</span>}
      </div>
      <ul>
        {list?.map((person) => (
          <li key={person.userId} className="row row-still">
            <Avatar userId={person.userId} displayName={person.displayName} imageUrl={person.imageUrl} size="small" />
            <span className="row-name">
              {person.displayName}
              {person.userId === me && <span className="quiet"> (you)</span>}
            </span>
            {person.title !== undefined && <span className="row-note">{person.title}</span>}
          </li>
        ))}
      </ul>
    </section>
  );
}
