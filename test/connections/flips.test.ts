import { expect, test } from "vitest";
import { startReplicas } from "../support/replicas.ts";
import { startUpstream, type Asked } from "../support/upstream.ts";

const slug = "custom:flipped";
const callers = 8;
const calls = 1_000;
const changes = 20;

/** How calls of a version sign in. */
function authOf(version: number): object {
  const password = `key-${version}`;
  switch (version % 3) {
    case 0:
      return { apiKey: password };
    case 1:
      return { auth: { authMethod: "basic", credentials: { username: `user-${version}`, password } } };
    default:
      return { auth: { authMethod: "api-key", credentials: { apiKey: password } } };
  }
}

/** What a call of the version at this path is sent with, and nothing else. */
function headersOf(version: number): [authorization: string | undefined, apiKey: string | undefined] {
  const password = `key-${version}`;
  const basic = Buffer.from(`user-${version}:${password}`).toString("base64");
  return [
    [`Bearer ${password}`, undefined],
    [`Basic ${basic}`, undefined],
    [undefined, password],
  ][version % 3] as [string | undefined, string | undefined];
}

function isOfOneVersion({ url, headers }: Asked, parity: number): boolean {
  const version = Number(/^\/v(\d+)\//.exec(url)?.[1]);
  const [authorization, apiKey] = headersOf(version);
  return version % 2 === parity && headers.authorization === authorization && headers["x-api-key"] === apiKey;
}

test("a call beside changes of its method, params, secret and address carries all of one version, on two replicas", async () => {
  await using replicas = await startReplicas();
  const { one, other } = replicas;
  await using even = await startUpstream();
  await using odd = await startUpstream();
  const mixed: unknown[] = [];
  for (const [parity, upstream] of [even, odd].entries()) {
    upstream.answer((asked) => {
      if (!isOfOneVersion(asked, parity)) mixed.push([asked.url, asked.headers]);
      return {};
    });
  }
  let version = 0;
  const change = async () => {
    const next = version + 1;
    const baseUrl = `${(next % 2 === 0 ? even : odd).url}/v${next}`;
    const body = { serviceSlug: slug, baseUrl, ...authOf(next) };
    const { status } = await one.org.rest("POST", "/api/service-connections", body);
    expect(status).toBe(201);
    version = next;
  };
  await change();

  let left = calls;
  // Often enough for most calls to meet a change, however slow the machine is.
  const isGoingOn = () => left > 0 || version <= changes;
  const presenters = [one.org, other.as(one.org.secret)];
  const calling = Array.from({ length: callers }, async (_, caller) => {
    const { connections } = presenters[caller % 2]!.client;
    while (isGoingOn()) {
      left--;
      await connections.callService({ service: slug, method: "GET", path: "/" });
    }
  });
  const through = Promise.all(calling);
  while (isGoingOn()) await Promise.race([change(), through]);
  await through;
  expect(mixed).toStrictEqual([]);
  expect(version).toBeGreaterThan(changes);
});
