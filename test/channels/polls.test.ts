import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  list,
  parameterOf,
  readLater,
  startSourceServices,
  type SourceServices,
} from "../support/sources.ts";
import { startStrangeAuthorizationServer } from "../support/strange-authorization-server.ts";
import { startUpstream, type Answer, type Asked } from "../support/upstream.ts";

let services: SourceServices;
beforeAll(async () => {
  services = await startSourceServices();
});
afterAll(() => services[Symbol.asyncDispose]());

const turn = (seconds = 70, service = services.one) => readLater(service, seconds);

/** A list with the newest first, ten a page, `?page=` counting from 1. */
function pagesOf(newest: () => number, next: (asked: Asked, page: number) => string) {
  return (asked: Asked): Answer => {
    const page = Number(parameterOf(asked, "page") ?? "1");
    const ids = Array.from({ length: 10 }, (_, i) => newest() - (page - 1) * 10 - i).filter((id) => id > 0);
    const headers = ids.at(-1) === 1 ? {} : { link: `<${next(asked, page + 1)}>; rel="next"` };
    return { headers, ...list(...ids) };
  };
}

describe("a list without a cursor", () => {
  test("gives what is new, the oldest first, with the item's own text as data, and what was there only if asked for", async () => {
    await using upstream = await startUpstream();
    const config = { path: "/items", type: "/kind", time: "/at", items: "/data/list" };
    upstream.answer({ body: '{"data":{"list":[{"id":1}]}}' });
    const [fromNow, all] = [
      await services.poll(upstream.url, config),
      await services.poll(upstream.url, { ...config, start: "all" }),
    ];
    await turn(0);
    const item = '{ "id": 3, "kind": "sold", "at": "2026-01-02T03:04:05Z", "n": 1.0000000000000000001 }';
    upstream.answer({ body: `{"data":{"list":[${item}, {"id":2},{"id":1}]}}` });
    await turn();
    expect(await services.idsOf(fromNow)).toStrictEqual(["2", "3"]);
    expect(await services.idsOf(all)).toStrictEqual(["1", "2", "3"]);
    const [, third] = await services.eventsOf(fromNow);
    expect(third).toMatchObject({
      type: "sold",
      time: "2026-01-02T03:04:05Z",
      source: `${upstream.url}/items`,
    });
    expect(String(third?.data)).toBe(item);
    expect(upstream.asked[0]?.headers.authorization).toBe("Bearer key-of-the-source");
    await turn();
    expect(await services.idsOf(fromNow)).toStrictEqual(["2", "3"]);
    expect(await services.gapsOf(fromNow)).toStrictEqual([]);
  });

  test("is read page by page to what is known, over several turns if it is long", async () => {
    await using upstream = await startUpstream();
    let newest = 5;
    upstream.answer(
      pagesOf(
        () => newest,
        (_, page) => `/items?page=${page}`,
      ),
    );
    const id = await services.poll(upstream.url, { path: "/items", nextByLink: true });
    await turn(0);
    newest = 255;
    await turn();
    await turn(1);
    expect((await services.idsOf(id)).map(Number).toSorted((a, b) => a - b)).toStrictEqual(
      Array.from({ length: 250 }, (_, i) => i + 6),
    );
    expect(await services.gapsOf(id)).toStrictEqual([]);
    const before = upstream.asked.length;
    await turn();
    expect(upstream.asked).toHaveLength(before + 1);
  });

  test("that shows nothing of what was there before says what may be missed", async () => {
    await using upstream = await startUpstream();
    upstream.answer(list(3, 2, 1));
    const id = await services.poll(upstream.url);
    await turn(0);
    upstream.answer(list(9, 8, 7));
    await turn();
    expect(await services.idsOf(id)).toStrictEqual(["7", "8", "9"]);
    expect(await services.gapsOf(id)).toMatchObject([{ channel: id, why: "PAGE_LIMIT" }]);
  });

  test("whose pages lead in a circle comes to an end", async () => {
    await using upstream = await startUpstream();
    upstream.answer((asked) => ({
      ...list(parameterOf(asked, "page") ?? "0"),
      headers: { link: `</?page=${parameterOf(asked, "page") === "1" ? 2 : 1}>; rel=next` },
    }));
    const id = await services.poll(upstream.url, { order: "ascending", nextByLink: true, start: "all" });
    await turn(0);
    expect(await services.idsOf(id)).toStrictEqual(["0", "1", "2"]);
    expect(upstream.asked.length).toBeLessThan(6);
  });
});

describe("a list with a cursor", () => {
  const config = {
    order: "ascending",
    start: "all",
    cursor: "/id",
    query: [{ name: "after", value: "{cursor}" }],
  };

  test("is asked for what is behind the newest item that was stored, and again at once while there is more", async () => {
    await using upstream = await startUpstream();
    let newest = 7;
    upstream.answer((asked) => {
      const after = Number(parameterOf(asked, "after") ?? "0");
      return list(...Array.from({ length: 3 }, (_, i) => after + 1 + i).filter((id) => id <= newest));
    });
    const id = await services.poll(upstream.url, config);
    await turn(0);
    expect(upstream.asked.map(({ url }) => url)).toStrictEqual(["/", "/?after=3", "/?after=6", "/?after=7"]);
    newest = 8;
    await turn();
    expect(await services.idsOf(id)).toStrictEqual(["1", "2", "3", "4", "5", "6", "7", "8"]);
    expect((await services.channel(id))["sourceState"]).toMatchObject({ cursor: "8", failures: 0 });
  });

  test("does not move its cursor before the last page was read: a page that fails is read again", async () => {
    await using upstream = await startUpstream();
    let works = false;
    const pages = new Map([
      [null, { items: [{ id: 1 }, { id: 2 }], next: "b" }],
      ["b", { items: [{ id: 3 }] }],
    ]);
    upstream.answer((asked) => {
      const token = parameterOf(asked, "token");
      return token !== null && !works ? { status: 500 } : { body: JSON.stringify(pages.get(token)) };
    });
    const paged = { items: "/items", next: "/next", nextParameter: "token" };
    const id = await services.poll(upstream.url, { ...config, ...paged });
    await turn(0);
    const { sourceState } = await services.channel(id);
    expect(sourceState).toMatchObject({ failures: 1, lastError: expect.stringMatching(/500/) });
    expect(sourceState.cursor).toBeUndefined();
    works = true;
    await turn();
    expect(await services.idsOf(id)).toStrictEqual(["1", "2", "3"]);
    expect((await services.channel(id))["sourceState"].cursor).toBe("3");
  });

  test("begins again with the first page if a page of the turn before is there no more", async () => {
    await using upstream = await startUpstream();
    let isForgotten = false;
    upstream.answer((asked) => {
      if (parameterOf(asked, "token") === null)
        return { body: JSON.stringify({ items: [{ id: 1 }], next: isForgotten ? "c" : "b" }) };
      if (parameterOf(asked, "token") === "b") return { status: isForgotten ? 404 : 500 };
      return { body: JSON.stringify({ items: [{ id: 2 }] }) };
    });
    const id = await services.poll(upstream.url, {
      ...config,
      items: "/items",
      next: "/next",
      nextParameter: "token",
    });
    await turn(0);
    isForgotten = true;
    await turn(150);
    await turn(300);
    expect(await services.idsOf(id)).toStrictEqual(["1", "2"]);
  });

  test("only notes what is there at the beginning, page by page", async () => {
    await using upstream = await startUpstream();
    let newest = 7;
    upstream.answer((asked) => {
      const after = Number(parameterOf(asked, "after") ?? "0");
      return list(...Array.from({ length: 3 }, (_, i) => after + 1 + i).filter((id) => id <= newest));
    });
    const id = await services.poll(upstream.url, { ...config, start: "now" });
    await turn(0);
    newest = 9;
    await turn();
    expect(await services.idsOf(id)).toStrictEqual(["8", "9"]);
  });

  test("of time begins 2 minutes earlier, and drops what it knows", async () => {
    await using upstream = await startUpstream();
    upstream.answer({ body: '[{"id":"a","at":"2026-01-01T12:00:00Z"}]' });
    const byTime = { ...config, cursor: "/at", cursorIsTime: true };
    const id = await services.poll(upstream.url, byTime);
    await turn(0);
    upstream.answer({
      body: '[{"id":"late","at":"2026-01-01T11:59:00Z"},{"id":"a","at":"2026-01-01T12:00:00Z"}]',
    });
    await turn();
    expect(parameterOf(upstream.asked.at(-1)!, "after")).toBe("2026-01-01T11:58:00.000Z");
    expect(await services.idsOf(id)).toStrictEqual(["a", "late"]);
  });

  test("that the server does not know any more is given up, and the channel says what may be missed", async () => {
    await using upstream = await startUpstream();
    upstream.answer(list(1));
    const id = await services.poll(upstream.url, config);
    await turn(0);
    upstream.answer((asked) => {
      const after = parameterOf(asked, "after");
      if (after === "1") return { status: 410 };
      return after === null ? list(8, 9) : list();
    });
    await turn();
    await turn();
    expect(await services.idsOf(id)).toStrictEqual(["1", "8", "9"]);
    expect(await services.gapsOf(id)).toMatchObject([{ why: "CURSOR_EXPIRED", from: "1" }]);
  });
});

describe("a server", () => {
  test("that says for ever that nothing changed is asked without conditions each 10 minutes", async () => {
    await using upstream = await startUpstream();
    let items = list(1);
    upstream.answer(({ headers }) =>
      headers["if-none-match"] === '"same"' ? { status: 304 } : { ...items, headers: { etag: '"same"' } },
    );
    const id = await services.poll(upstream.url, { start: "all" });
    await turn(0);
    items = list(2, 1);
    await turn(100);
    expect(upstream.asked.at(-1)?.headers["if-none-match"]).toBe('"same"');
    expect(await services.idsOf(id)).toStrictEqual(["1"]);
    for (let i = 0; i < 6; i++) await turn(100);
    expect(await services.idsOf(id)).toStrictEqual(["1", "2"]);
  });

  test.each([
    ["Retry-After", { status: 429, headers: { "retry-after": "600" } }],
    ["X-Poll-Interval", { ...list(1), headers: { "x-poll-interval": "600" } }],
    ["max-age", { ...list(1), headers: { "cache-control": "private, max-age=600" } }],
  ])("that asks for patience with %s is left alone for so long", async (_, answer) => {
    await using upstream = await startUpstream();
    upstream.answer(answer);
    await services.poll(upstream.url);
    await turn(0);
    await turn(595);
    expect(upstream.asked).toHaveLength(1);
    await turn(6);
    expect(upstream.asked).toHaveLength(2);
  });

  test.each([
    ["no JSON", { body: "<html>" }, "not JSON"],
    ["bytes that are no UTF-8", { body: Buffer.from([0x5b, 0xff, 0x5d]) }, "not UTF-8"],
    ["no list", { body: '{"items":1}' }, "no list"],
    ["an item without an id", { body: '[{"id":1},{"name":2}]' }, "item 1 of the page has no id at /id"],
    ["an id of 10 KB", { body: JSON.stringify([{ id: "i".repeat(10_000) }]) }, "has no id"],
    [
      "a redirect",
      { status: 302, headers: { location: "http://127.0.0.1:9/" } },
      "redirects are not followed",
    ],
    ["more than 10 MiB", { body: Buffer.alloc(11 * 1024 * 1024, " ") }, "answered with more than 10 MiB"],
    ["deep nesting", { body: "[".repeat(100_000) }, "not JSON that can be read"],
    ["304 unasked", { status: 304 }, "answered 304"],
    [
      "a next page elsewhere",
      { ...list(1), headers: { link: "<http://127.0.0.1:9/x>; rel=next" } },
      "http://127.0.0.1:9",
    ],
  ])("that answers %s makes no event, and the channel says why", async (_, answer, words) => {
    await using upstream = await startUpstream();
    upstream.answer(answer);
    const id = await services.poll(upstream.url, { start: "all", nextByLink: true });
    await turn(0);
    const { sourceState, state } = await services.channel(id);
    expect(sourceState).toMatchObject({ failures: 1, lastError: expect.stringContaining(words) });
    expect([state, await services.idsOf(id)]).toStrictEqual(["active", []]);
  });

  test.each([
    ["a cursor of 5 KB", { items: [{ id: 1, at: "c".repeat(5_000) }] }, "item 0 of the page has at /at"],
    ["a cursor with NUL", { items: [{ id: 1, at: "\0" }] }, "item 0 of the page has at /at"],
    ["a cursor of broken Unicode", { items: [{ id: 1, at: "\ud800" }] }, "item 0 of the page has at /at"],
    ["a next page of 5 KB", { items: [], next: "n".repeat(5_000) }, "the page has at /next"],
    ["a next page of broken Unicode", { items: [], next: "\ud800" }, "the page has at /next"],
  ])("that answers %s makes no event, and the channel says why", async (_, page, words) => {
    await using upstream = await startUpstream();
    upstream.answer({ body: JSON.stringify(page) });
    const id = await services.poll(upstream.url, {
      ...{ start: "all", items: "/items", next: "/next", nextParameter: "page" },
      ...{ cursor: "/at", query: [{ name: "after", value: "{cursor}" }] },
    });
    const logged = services.one.watchLog();
    await turn(0);
    await turn(150);
    const { sourceState } = await services.channel(id);
    expect(sourceState).toMatchObject({ failures: 2, lastError: expect.stringContaining(words) });
    expect(sourceState.lastError.length).toBeLessThan(300);
    expect(logged()).not.toMatch(/"level":(?:50|60)/);
    expect(await services.one.org.rest("GET", "/api/event-channels?pageSize=1000")).toMatchObject({
      status: 200,
    });
  });

  test("is not sent the credential beside the connection's base URL", async () => {
    await using upstream = await startUpstream();
    upstream.answer({ ...list(1), headers: { link: "</other?page=2>; rel=next" } });
    const id = await services.poll(`${upstream.url}/api`, { nextByLink: true, path: "/items" });
    await turn(0);
    expect(upstream.asked.map(({ url }) => url)).toStrictEqual(["/api/items"]);
    expect((await services.channel(id))["sourceState"].lastError).toMatch(/beside the connection's base URL/);
  });

  test("that refuses the credential is asked once more, with the one that the connection falls back to", async () => {
    await using upstream = await startUpstream();
    upstream.answer(({ headers }) =>
      headers.authorization === "Bearer key-of-the-source" ? list(1) : { status: 401 },
    );
    const id = await services.poll(upstream.url, { start: "all" });
    const { poll } = await services.channel(id);
    const found = await services.one.org.client.connections.getConnection({ id: poll.connection });
    const { serviceSlug = "" } = found.connection!;
    const rotation = {
      serviceSlug,
      baseUrl: upstream.url,
      apiKey: "new",
      fallbackSeconds: 3_600,
    };
    await services.one.org.client.connections.upsertServiceConnection(rotation);
    await turn(0);
    expect(await services.idsOf(id)).toStrictEqual(["1"]);
    expect(upstream.asked.map(({ headers }) => headers.authorization)).toStrictEqual([
      "Bearer new",
      "Bearer key-of-the-source",
    ]);
  });

  test("that refuses an access token before its time is asked once more with a renewed one, and only then is the channel blocked", async () => {
    await using upstream = await startUpstream();
    await using authorization = await startStrangeAuthorizationServer();
    authorization.behave(({ nth }) => ({
      access_token: `token-${nth}`,
      token_type: "bearer",
      expires_in: 86_400,
    }));
    const { rest } = services.one.org;
    const oauth2 = {
      ...{ grant: "client_credentials", tokenUrl: authorization.tokenUrl, refresh: "none" },
      ...{ clientAuthentication: "post", pkce: "ignored", scopeSeparator: " " },
    };
    const method = { id: "oauth2", type: "oauth2", label: "OAuth", oauth2 };
    const integration = { name: "Ours", baseUrl: upstream.url, authMethods: [method] };
    await rest("PUT", "/api/integrations/custom:renewed", integration);
    const client = { clientId: "patchbay", clientSecret: "a-client-secret" };
    await rest("PUT", "/api/integrations/custom:renewed/auth-methods/oauth2/client", client);
    const made = await rest("POST", "/api/connections", {
      integration: "custom:renewed",
      authMethod: "oauth2",
    });
    const poll = { connection: made.body.data.connection.id, start: "all" };
    const channel = await rest("POST", "/api/event-channels", { name: "renewed", poll });
    const { id } = channel.body.data.channel;
    let accepted = "Bearer token-0";
    upstream.answer(({ headers }) => (headers.authorization === accepted ? list(1) : { status: 401 }));
    await turn(0);
    accepted = "Bearer token-1";
    upstream.answer(({ headers }) => (headers.authorization === accepted ? list(2, 1) : { status: 401 }));
    await turn();
    const shown = upstream.asked.map(({ headers }) => headers.authorization);
    expect(shown).toStrictEqual(["Bearer token-0", "Bearer token-0", "Bearer token-1"]);
    expect([await services.idsOf(id), (await services.channel(id))["state"]]).toStrictEqual([
      ["1", "2"],
      "active",
    ]);
    accepted = "none any more";
    await turn();
    expect(upstream.asked).toHaveLength(5);
    expect(await services.channel(id)).toMatchObject({
      state: "blocked",
      stateReason: expect.stringMatching(/401/),
    });
  });

  test("that does not take the credential blocks the channel, which says so", async () => {
    await using upstream = await startUpstream();
    upstream.answer({ status: 401 });
    const id = await services.poll(upstream.url);
    await turn(0);
    expect(await services.channel(id)).toMatchObject({
      state: "blocked",
      stateReason: expect.stringMatching(/401/),
    });
  });
});

test("two replicas at once ask each list once, and store each item once", async () => {
  await using upstream = await startUpstream();
  upstream.answer(list(2, 1));
  const ids = [];
  for (let i = 0; i < 12; i++) ids.push(await services.poll(upstream.url, { path: `/${i}`, start: "all" }));
  services.one.clock.advance(1);
  const loops = [services.one, services.other, services.one, services.other].map(
    ({ app }) => app.loops.sources,
  );
  await Promise.all(loops.map((loop) => loop.runOnce()));
  expect(new Set(upstream.asked.map(({ url }) => url)).size).toBe(12);
  expect(upstream.asked).toHaveLength(12);
  for (const id of ids) expect(await services.idsOf(id)).toStrictEqual(["1", "2"]);
});

describe("a new channel that reads", () => {
  const poll = { connection: "custom:none" };
  test.each([
    ["through a connection that there is not", { poll }, 404, /connect|GET/],
    [
      "and has a receiver",
      { poll: { connection: "custom:s0" }, receiver: {} },
      400,
      /^receiver: nobody sends/,
    ],
    [
      "and has a secret",
      { poll: { connection: "custom:s0" }, secret: "12345678" },
      400,
      /^secret: nobody sends/,
    ],
    [
      "on a path out of its base",
      { sse: { connection: "custom:s0", path: "/a/../b" } },
      400,
      /^sse.path: the segments/,
    ],
    [
      "by a cursor from nowhere",
      { poll: { connection: "custom:s0", query: [{ name: "a", value: "{cursor}" }] } },
      400,
      /^poll.cursor/,
    ],
    [
      "every second",
      { poll: { connection: "custom:s0", intervalSeconds: 1 } },
      400,
      /^poll.intervalSeconds: give at least 10/,
    ],
  ])("%s is refused", async (_, source, status, error) => {
    await using upstream = await startUpstream();
    const { connections } = services.one.org.client;
    await connections.upsertServiceConnection({
      serviceSlug: "custom:s0",
      baseUrl: upstream.url,
      apiKey: "k",
    });
    const refused = await services.one.org.rest("POST", "/api/event-channels", { name: "n", ...source });
    expect(refused).toMatchObject({ status, body: { error: expect.stringMatching(error) } });
  });

  test("takes a key that may use connections", async () => {
    const { apiKeys } = services.one.org.client;
    const { secret } = await apiKeys.createApiKey({ name: "writer", scopes: ["channels:write"] });
    const refused = await services.one.as(secret).rest("POST", "/api/event-channels", { name: "n", poll });
    expect(refused).toMatchObject({ status: 403, body: { error: "missing scope: connections:use" } });
  });
});
