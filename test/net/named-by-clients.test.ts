import { createClient } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ApiKeyService } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import { newApiKeySecret } from "#src/api-keys/secret-format.ts";
import { startService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

const keys = [
  ["an issued key", newApiKeySecret("live")],
  ["an issued key in lower case", newApiKeySecret("sandbox").toLowerCase()],
  ["a key of an earlier system", "aml_a8f3c91e6d2b4f07"],
  ["the shortest key of an earlier system", "qedi_9f8e7d6c5b4"],
  ["a key of an earlier system in capitals", "BS_4B0C91E6D2AA57F3"],
  ["a key behind something else", "job-bs_4b0c91e6d2aa57f3"],
] as const;

test.each(keys)("%s that comes as x-request-id is echoed, stored and logged nowhere", async (_, key) => {
  const fields = { name: "k", scopes: ["a:view"] };
  const rest = await service.org.rest("POST", "/api/api-keys", fields, { "x-request-id": key });
  expect(rest.status).toBe(201);
  const echoed = [rest.headers.get("x-request-id")];
  for (const transport of [
    createGrpcTransport({ baseUrl: service.url }),
    createGrpcWebTransport({ baseUrl: service.url, httpVersion: "1.1" }),
    createConnectTransport({ baseUrl: service.url, httpVersion: "2" }),
  ]) {
    await createClient(ApiKeyService, transport).createApiKey(fields, {
      headers: { authorization: `Bearer ${service.org.secret}`, "x-request-id": key },
      onHeader: (headers) => echoed.push(headers.get("x-request-id")),
    });
  }
  const { events } = await service.org.client.audit.listAuditEvents({ pageSize: 4 });
  expect(new Set(events.map(({ requestId }) => requestId))).toEqual(new Set(echoed));
  expect(JSON.stringify(await service.postgres.asOwner("select * from audit_events"))).not.toContain(key);
  expect(service.logged()).not.toContain(key);
  for (const id of echoed) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f-]{27}$/);
});

test.each(keys)("%s in a path is not logged", async (_, key) => {
  for (const path of [
    `/api/api-keys/${key}`,
    `/api/api-keys/${key.replaceAll("_", "%5F")}/rotate`,
    `/${key}`,
  ]) {
    await service.org.rest("GET", path);
  }
  expect(service.logged()).not.toContain(key);
  expect(service.logged()).not.toContain(key.replaceAll("_", "%5F"));
});
