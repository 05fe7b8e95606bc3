// A server component's functions, and a client component that goes on from what the server has loaded.
import assert from "node:assert/strict";
import { fetchAction, fetchMutation, fetchQuery, preloadedQueryResult, preloadQuery } from "convex/nextjs";
import { usePreloadedQuery } from "convex/react";
import { ConvexError } from "convex/values";
import { api, channel, done, eventually, rejected, url } from "./_harness.mjs";
import { mount, openReactClient } from "./_react.mjs";

const options = { url };
await fetchMutation(api.send, { channel, body: "first" }, options);
assert.equal(await fetchAction(api.send_all, { channel, bodies: ["second"] }, options), 2);
assert.equal((await fetchQuery(api.list, { channel }, options)).length, 2);
const refusal = await rejected(fetchQuery(api.refuse_query, { data: { code: 7n } }, options));
assert(refusal instanceof ConvexError);
assert.deepEqual(refusal.data, { code: 7n });
assert.deepEqual(await fetchQuery(api.echo, { value: [1n, NaN, new ArrayBuffer(2)] }, options), [1n, NaN, new ArrayBuffer(2)]);

const preloaded = await preloadQuery(api.list, { channel }, options);
assert.deepEqual(preloadedQueryResult(preloaded).map((message) => message.body), ["first", "second"]);
const passed = JSON.parse(JSON.stringify(preloaded)); // as props go from the server to the page
const client = openReactClient();
const { frames, newest } = mount(client, () => ({ list: usePreloadedQuery(passed) }));
await eventually(() => newest().list, "the first render");
assert.equal(frames[0].list.length, 2, "what was loaded is rendered without waiting");
await fetchMutation(api.send, { channel, body: "third" }, options);
await eventually(() => newest().list.length === 3, "the query is live");
await done(client);
