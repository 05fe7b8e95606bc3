/** Line icons, 20 by 20, in the colour of the text. The controls they stand in carry the labels. */
import type { ReactNode } from "react";

function Icon({ children }: { children: ReactNode }) {
  return (
    <svg className="icon" viewBox="0 0 20 20" aria-hidden="true">
      {children}
    </svg>
  );
}

export const CloseIcon = () => (
  <Icon>
    <path d="M5 5l10 10M15 5L5 15" />
  </Icon>
);
export const MenuIcon = () => (
  <Icon>
    <path d="M3 5.5h14M3 10h14M3 14.5h14" />
  </Icon>
);
export const PlusIcon = () => (
  <Icon>
    <path d="M10 4v12M4 10h12" />
  </Icon>
);
export const PencilIcon = () => (
  <Icon>
    <path d="M4 16l.8-3.4L13.4 4l2.6 2.6-8.6 8.6z" />
  </Icon>
);
export const TrashIcon = () => (
  <Icon>
    <path d="M4 6h12M8 6V4h4v2M6 6l.7 10h6.6L14 6" />
  </Icon>
);
export const SmileIcon = () => (
  <Icon>
    <circle cx="10" cy="10" r="7" />
    <path d="M7.2 12c.7 1 1.6 1.5 2.8 1.5s2.1-.5 2.8-1.5M7.6 8v.1M12.4 8v.1" />
  </Icon>
);
export const SendIcon = () => (
  <Icon>
    <path d="M3.5 10L16.5 4l-4 12.5-2.7-5.3z" />
  </Icon>
);
export const PeopleIcon = () => (
  <Icon>
    <circle cx="7.5" cy="7" r="2.8" />
    <path d="M2.5 16c0-3 2-4.5 5-4.5s5 1.5 5 4.5M13 4.5a2.8 2.8 0 0 1 0 5M15 12c1.6.6 2.5 1.9 2.5 4" />
  </Icon>
);
export const SignOutIcon = () => (
  <Icon>
    <path d="M8 3.5H4v13h4M8.5 10H17M13.5 6.5L17 10l-3.5 3.5" />
  </Icon>
);
