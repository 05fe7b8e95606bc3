import { renderToStaticMarkup } from "react-dom/server";
import { expect, test } from "vitest";

import { MessageBody } from "./MessageBody";

const html = (text: string) => renderToStaticMarkup(<MessageBody text={text} />).replace(/^<div[^>]*>|<\/div>$/g, "");

test.each([
  ["plain text", "plain text"],
  ["2 * 3 * 4 and snake*case*name", "2 * 3 * 4 and snake*case*name"],
  ["tickets are *not* up", "tickets are <em>not</em> up"],
  ["run `a * b * c`", "run <code>a * b * c</code>"],
  ["<b>&", "&lt;b&gt;&amp;"],
  ["javascript:alert(1)", "javascript:alert(1)"],
])("%s", (text, expected) => {
  expect(html(text)).toBe(expected);
});

test("a link ends before the sentence's full stop", () => {
  expect(html("See https://example.com/a?b=c.")).toBe(
    'See <a href="https://example.com/a?b=c" target="_blank" rel="noreferrer">https://example.com/a?b=c</a>.',
  );
});
