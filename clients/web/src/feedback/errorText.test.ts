import { ConvexError } from "convex/values";
import { expect, test } from "vitest";

import { errorText } from "./errorText";

const UNKNOWN = "That did not work. Please try again.";

test("a refusal's message is shown as it is", () => {
  expect(errorText(new ConvexError({ code: "ChannelNameTaken", message: "There is one already." }))).toBe(
    "There is one already.",
  );
  expect(errorText(new ConvexError("Too late."))).toBe("Too late.");
});

test("developers' texts are not for people", () => {
  expect(errorText(new Error("[CONVEX M(a:b)] Server Error"))).toBe(UNKNOWN);
  expect(errorText(new ConvexError({ code: 7 }))).toBe(UNKNOWN);
  expect(errorText(undefined)).toBe(UNKNOWN);
});
