import { once } from "node:events";
import type http2 from "node:http2";
import { createClient } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { createConnectTransport } from "@connectrpc/connect-web";
import { describe, expect, test } from "vitest";
import { Health } from "#gen/grpc/health/v1/health_pb.js";
import { withCors } from "#src/net/cors.ts";
import type { Handler } from "#src/platform/http.ts";
import { connectHttp2, startPort } from "./support.ts";

const ours = "https://app.example";

const sayHello: Handler = (_request, response) => void response.end("hello");

function startWithCors(origins: readonly string[], handler = sayHello) {
  return startPort({ handler: withCors(handler, origins) });
}

/** The names in a header that lists them. */
function listed(header: string | null | undefined): string[] {
  return (header ?? "").split(",").map((name) => name.trim().toLowerCase());
}

function preflight(url: string, origin: string, method = "POST"): Promise<Response> {
  return fetch(url, {
    method: "OPTIONS",
    headers: {
      origin,
      "access-control-request-method": method,
      "access-control-request-headers": "authorization,content-type",
    },
  });
}

describe.each(["/patchbay.apikeys.v1.ApiKeyService/WhoAmI", "/api/service-connections"])(
  "a page that calls %s",
  (path) => {
    test("may, from a configured origin, with our verbs and the headers of every protocol", async () => {
      await using port = await startWithCors([ours]);
      const response = await preflight(port.origin + path, ours, "PATCH");
      expect(response.status).toBe(204);
      expect(response.headers.get("access-control-allow-origin")).toBe(ours);
      expect(listed(response.headers.get("access-control-allow-methods")).sort()).toEqual([
        "delete",
        "get",
        "patch",
        "post",
        "put",
      ]);
      expect(listed(response.headers.get("access-control-allow-headers"))).toEqual(
        expect.arrayContaining([
          ...["authorization", "content-type", "idempotency-key", "if-none-match", "x-request-id"],
          ...["connect-protocol-version", "connect-timeout-ms", "x-grpc-web", "grpc-timeout", "x-user-agent"],
        ]),
      );
      expect(response.headers.get("vary")).toBe("origin");
    });

    test("gets its answer, with the headers that it needs to read", async () => {
      await using port = await startWithCors([ours]);
      const response = await fetch(port.origin + path, { headers: { origin: ours } });
      expect(await response.text()).toBe("hello");
      expect(response.headers.get("access-control-allow-origin")).toBe(ours);
      expect(listed(response.headers.get("access-control-expose-headers"))).toEqual(
        expect.arrayContaining([
          ...["grpc-status", "grpc-message", "grpc-status-details-bin", "x-request-id", "x-error-reason"],
          ...["www-authenticate", "retry-after", "ratelimit", "ratelimit-policy", "allow", "etag"],
          ...["x-patchbay-source", "x-patchbay-attempts"],
        ]),
      );
      // Cookies are not how callers authenticate.
      expect(response.headers.has("access-control-allow-credentials")).toBe(false);
    });

    test.each([
      "https://other.example",
      "http://app.example",
      "https://app.example:8443",
      "https://app.example.evil",
      "https://evilapp.example",
      "https://APP.example",
      "null",
      "*",
    ])("may not, from %s", async (origin) => {
      await using port = await startWithCors([ours]);
      const response = await preflight(port.origin + path, origin);
      expect(response.status).toBe(403);
      expect(await response.json()).toEqual({
        error: "pages of this origin may not call: add it to PATCHBAY_CORS_ORIGINS",
      });
      const answer = await fetch(port.origin + path, { headers: { origin } });
      for (const { headers } of [response, answer]) {
        expect([...headers.keys()].filter((name) => name.startsWith("access-control-"))).toEqual([]);
        expect(headers.get("vary")).toBe("origin");
      }
    });
  },
);

test("a response to no page at all says that it depends on the origin, so that caches keep it from pages", async () => {
  await using port = await startWithCors([ours]);
  expect((await fetch(port.origin)).headers.get("vary")).toBe("origin");
});

test("the preflight is answered over HTTP/2 too", async () => {
  await using port = await startWithCors([ours]);
  using session = connectHttp2(port.origin);
  const stream = session.request({
    ":method": "OPTIONS",
    origin: ours,
    "access-control-request-method": "POST",
  });
  const [headers] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
  expect(headers).toMatchObject({ ":status": 204, "access-control-allow-origin": ours });
});

test("OPTIONS that is no preflight reaches the handler", async () => {
  await using port = await startWithCors([ours]);
  const response = await fetch(port.origin, { method: "OPTIONS", headers: { origin: ours } });
  expect(await response.text()).toBe("hello");
});

test("without configured origins nothing is said and nothing answered", async () => {
  await using port = await startWithCors([]);
  const response = await preflight(port.origin, ours);
  expect(await response.text()).toBe("hello");
  expect([...response.headers.keys()].filter((name) => /^(vary|access-control-)/.test(name))).toEqual([]);
});

test("a call of connect-web keeps the headers of CORS in its answer", async () => {
  const rpc = connectNodeAdapter({
    routes: (router) => router.service(Health, { check: () => ({ status: 1 }) }),
  });
  await using port = await startWithCors([ours], rpc);
  let allowed: string | null = null;
  const client = createClient(
    Health,
    createConnectTransport({
      baseUrl: port.origin,
      fetch: async (url, init) => {
        const headers = new Headers(init?.headers);
        headers.set("origin", ours);
        const response = await fetch(url, { ...init, headers });
        allowed = response.headers.get("access-control-allow-origin");
        return response;
      },
    }),
  );
  expect((await client.check({})).status).toBe(1);
  expect(allowed).toBe(ours);
});
