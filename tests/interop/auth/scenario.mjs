// The npm client's authentication against a running server: set, refreshed, expired, bad and cleared tokens.
import assert from "node:assert/strict";
import { createPrivateKey, sign } from "node:crypto";
import { ConvexClient, ConvexHttpClient } from "convex/browser";
import { anyApi as api } from "convex/server";

const url = process.env.CONVEX_URL;
const key = createPrivateKey({ key: JSON.parse(process.env.INTEROP_PRIVATE_JWK), format: "jwk" });
const now = () => Math.floor(Date.now() / 1000);
const base64 = (object) => Buffer.from(JSON.stringify(object)).toString("base64url");

let serial = 0;
function token(claims = {}) {
  const head = base64({ alg: "ES256", typ: "JWT", kid: "interop" });
  const body = base64({
    iss: "https://issuer.test", aud: "interop", sub: "ann", iat: now(), exp: now() + 3600, jti: `${serial++}`, ...claims,
  });
  const data = `${head}.${body}`;
  return `${data}.${sign("sha256", Buffer.from(data), { key, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
}

async function eventually(condition, what, ms = 15000) {
  const deadline = Date.now() + ms;
  while (!(await condition())) {
    assert(Date.now() < deadline, `never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function open(fetchToken) {
  const client = new ConvexClient(url, { logger: false });
  const seen = { changes: [], me: [], asked: [], counts: 0 };
  client.onUpdate(api.people.me, {}, (value) => seen.me.push(value?.subject ?? null));
  client.onUpdate(api.people.same, {}, () => seen.counts++);
  const setAuth = (fetch) =>
    client.setAuth(
      async (options) => {
        seen.asked.push(options.forceRefreshToken);
        return await fetch(options);
      },
      (isAuthenticated) => seen.changes.push(isAuthenticated),
    );
  if (fetchToken) setAuth(fetchToken);
  return { client, seen, setAuth };
}

const scenarios = {
  async "a token is set, refreshed by the client at once, changed and cleared"() {
    const { client, seen, setAuth } = open(async () => token());
    await eventually(() => seen.changes.length && seen.asked.length === 2 && seen.me.length, "authenticated");
    assert.deepEqual(new Set(seen.changes), new Set([true]));
    assert.deepEqual(seen.asked, [false, true]);
    await client.mutation(api.people.note, { text: "as ann" });
    assert.deepEqual(await client.query(api.people.authors, { text: "as ann" }), ["ann"]);
    assert.equal(await client.query(api.people.nested, {}), "ann");
    assert.deepEqual(await client.action(api.people.act, { text: "acted" }), ["ann", "ann"]);
    const counts = seen.counts;
    setAuth(async () => token({ sub: "bob" }));
    await eventually(() => seen.me.at(-1) === "bob", "bob");
    client.client.clearAuth();
    await eventually(() => seen.me.at(-1) === null, "nobody");
    assert.equal(seen.counts, counts, "a result that depends on nobody is not sent again");
    await client.close();
  },

  async "a token is refreshed before it expires, on the open socket"() {
    const { client, seen } = open(async () => token({ exp: now() + 12 }));
    await eventually(() => seen.asked.length >= 4, "two scheduled refreshes");
    assert(!seen.changes.includes(false));
    assert.deepEqual([...new Set(seen.me.filter((one) => one !== null))], ["ann"]);
    await client.close();
  },

  async "a mutation after the expiry is made once, with a fresh token"() {
    // Accepted for two more seconds, and refreshed by the client only in an hour.
    let stale = true;
    const { client, seen } = open(async () => (stale ? token({ iat: now() - 3600, exp: now() - 2 }) : token()));
    await eventually(() => seen.me.at(-1) === "ann" && seen.asked.length === 2, "authenticated");
    await new Promise((resolve) => setTimeout(resolve, 4500)); // the leeway of 5 s has to pass
    stale = false;
    await client.mutation(api.people.note, { text: "late" });
    assert.deepEqual(await client.query(api.people.authors, { text: "late" }), ["ann"]);
    assert.deepEqual(seen.asked.slice(2), [true, true].slice(0, seen.asked.length - 2));
    assert(!seen.changes.includes(false));
    await client.close();
  },

  async "bad tokens: four attempts, then nobody"() {
    const { client, seen } = open(async () => token().slice(0, -8) + "AAAAAAAA");
    await eventually(() => seen.changes.includes(false), "onChange(false)", 40000);
    assert.deepEqual(seen.changes, [false]);
    assert.equal(seen.asked.length, 4);
    await eventually(() => seen.me.at(-1) === null && seen.counts > 0, "queries as nobody");
    await client.close();
  },

  async "the HTTP client"() {
    const client = new ConvexHttpClient(url);
    assert.equal(await client.query(api.people.me), null);
    client.setAuth(token({ email: "ann@example.org", org: { role: "owner" } }));
    const me = await client.query(api.people.me);
    assert.deepEqual(me, {
      tokenIdentifier: "https://issuer.test|ann", issuer: "https://issuer.test", subject: "ann",
      email: "ann@example.org", "org.role": "owner",
    });
    assert.deepEqual(await client.action(api.people.act, { text: "by HTTP" }), ["ann", "ann"]);
    client.setAuth(token({ aud: "another" }));
    await assert.rejects(client.query(api.people.same), /NoAuthProvider/);
  },
};

const ends = await Promise.allSettled(
  Object.entries(scenarios).map(async ([name, scenario]) => {
    try {
      await scenario();
    } catch (error) {
      throw new Error(name, { cause: error });
    }
  }),
);
const failed = ends.filter((end) => end.status === "rejected");
for (const { reason } of failed) console.error(reason);
process.exit(failed.length ? 1 : 0);
