import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createPatchbayClient, reasonOf } from "#src/client/web.ts";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { browse, bundlePage, hasBrowser, type Site, startSite } from "./browser.ts";

/** A page of this site may call. */
let listed: Site;
/** One of this site may not. */
let unlisted: Site;
let service: TestService;
let upstream: Upstream;

beforeAll(async () => {
  const script = await bundlePage();
  unlisted = await startSite(script);
  listed = await startSite(script, unlisted);
  upstream = await startUpstream();
  upstream.answer({ headers: { "content-type": "text/plain" }, body: "balance: 7" });
  service = await startService({ corsOrigins: [listed.origin] });
  const { connections, apiKeys } = service.org.client;
  const { connection } = await connections.upsertServiceConnection({
    serviceSlug: "custom:ledger",
    baseUrl: upstream.url,
    apiKey: "the-ledgers-own-key",
  });
  const { secret } = await apiKeys.createApiKey({ name: "narrow", scopes: ["audit:view"] });
  const task = { url: service.url, key: service.org.secret, narrowKey: secret, connectionId: connection!.id };
  listed.task = task;
  unlisted.task = task;
});
afterAll(async () => {
  for (const one of [service, upstream, listed, unlisted]) await one[Symbol.asyncDispose]();
});

describe("connect-web in Node", () => {
  test("calls a service through its connection", async () => {
    const client = createPatchbayClient({ baseUrl: service.url, apiKey: service.org.secret });
    const answer = await client.connections.callService({
      service: "custom:ledger",
      method: "GET",
      path: "/",
    });
    expect(answer).toMatchObject({ status: 200, body: { case: "text", value: "balance: 7" } });
  });

  test("is told in words, and by its reason, why it is refused", async () => {
    const client = createPatchbayClient({ baseUrl: service.url, apiKey: listed.task!.narrowKey });
    const error = await client.connections.listConnections({}).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: Code.PermissionDenied,
      rawMessage: "missing scope: connections:view",
    });
    expect(reasonOf(error)).toBe("MISSING_SCOPE");
  });
});

describe("a page in Chromium", () => {
  let results: { listed: Record<string, unknown>; unlisted: Record<string, unknown> } | undefined;

  beforeAll(async () => {
    if (!(await hasBrowser())) return;
    const [ofListed, ofUnlisted] = await browse(listed.origin, Promise.all([listed.result, unlisted.result]));
    results = { listed: ofListed, unlisted: ofUnlisted };
  });

  test("of a listed origin calls with every protocol and over REST", ({ skip }) => {
    skip(results === undefined, "there is no /usr/bin/chromium");
    const { apiKeyId } = service.org;
    expect(results!.listed).toMatchObject({
      client: apiKeyId,
      call: "balance: 7",
      connectJson: apiKeyId,
      connectGet: apiKeyId,
      grpcWeb: apiKeyId,
      watchConnect: [1],
      watchGrpcWeb: [1],
      restPatch: { status: 200, body: { data: { connection: { id: listed.task!.connectionId } } } },
      simpleRequest: 200,
    });
  });

  test("of a listed origin reads why it is refused, and the id to ask the operator about", ({ skip }) => {
    skip(results === undefined, "there is no /usr/bin/chromium");
    const { refusal, restPatch } = results!.listed as Record<string, { requestId: string; id: string }>;
    expect(refusal).toMatchObject({
      code: Code.PermissionDenied,
      message: "missing scope: connections:view",
      reason: "MISSING_SCOPE",
    });
    for (const id of [refusal!.requestId, restPatch!.id])
      expect(service.logged()).toContain(`"requestId":"${id}"`);
  });

  test("of another origin gets nothing, whatever it tries", ({ skip }) => {
    skip(results === undefined, "there is no /usr/bin/chromium");
    const outcomes = Object.entries(results!.unlisted);
    expect(outcomes.length).toBe(Object.keys(results!.listed).length);
    for (const [way, outcome] of outcomes) {
      expect([way, outcome]).toMatchObject([way, { message: "Failed to fetch" }]);
    }
  });
});
