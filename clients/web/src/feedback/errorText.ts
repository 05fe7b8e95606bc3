import { ConvexError } from "convex/values";

/**
 * What to tell a person about a failed call. Functions refuse with `ConvexError({code, message})`; that message is meant
 * for people. Anything else is the server's trouble, whose text is for developers and is in the console.
 */
export function errorText(error: unknown): string {
  if (error instanceof ConvexError) {
    const data: unknown = error.data;
    if (typeof data === "string") {
      return data;
    }
    if (typeof data === "object" && data !== null && "message" in data && typeof data.message === "string") {
      return data.message;
    }
  }
  return "That did not work. Please try again.";
}
