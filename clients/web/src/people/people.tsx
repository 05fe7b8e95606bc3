/** The workspace's people by id, for everything that shows a name. */
import { createContext, useContext, useMemo, type ReactNode } from "react";

import type { Id, Person } from "../api";

type People = {
  /** In the server's order; undefined while loading. */
  list: Person[] | undefined;
  me: Id<"users">;
  nameOf: (userId: Id<"users">) => string;
};

const PeopleContext = createContext<People | null>(null);

type Props = { people: Person[] | undefined; me: Id<"users">; children: ReactNode };

export function PeopleProvider({ people, me, children }: Props) {
  const value = useMemo<People>(() => {
    const names = new Map(people?.map((person) => [person.userId, person.displayName]));
    return { list: people, me, nameOf: (userId) => names.get(userId) ?? "Somebody" };
  }, [people, me]);
  return <PeopleContext value={value}>{children}</PeopleContext>;
}

export function usePeople(): People {
  const people = useContext(PeopleContext);
  if (people === null) {
    throw new Error("usePeople outside of PeopleProvider");
  }
  return people;
}
