import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { setDefaultCACertificates, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startService, type TestService } from "../support/service.ts";

const pem = (name: string) => readFileSync(new URL(`../outbound/${name}`, import.meta.url), "utf8");
const authority = pem("../net/test-only.cert.pem");
const certificate = pem("test-only-client-one.cert.pem");
const privateKey = pem("test-only-client-one.key.pem");

const server = createServer(
  {
    cert: authority,
    key: pem("../net/test-only.key.pem"),
    ca: authority,
    requestCert: true,
    rejectUnauthorized: true,
  },
  (request, response) => {
    response.setHeader("content-type", "text/plain");
    response.end(String((request.socket as TLSSocket).getPeerCertificate().subject.CN));
  },
);
let service: TestService;
let baseUrl: string;
beforeAll(async () => {
  setDefaultCACertificates([authority]);
  await once(server.listen(0, "127.0.0.1"), "listening");
  baseUrl = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  service = await startService();
  const { status, body } = await service.org.rest("PUT", "/api/integrations/custom:vault", {
    name: "Vault",
    authMethods: [
      {
        id: "mtls",
        type: "mtls",
        label: "Client certificate",
        fields: [
          { name: "certificate", secret: false },
          { name: "privateKey", secret: true },
        ],
        inject: { certificate: { certificate: "{certificate}", privateKey: "{privateKey}" } },
      },
    ],
  });
  expect([status, body]).toStrictEqual([200, expect.anything()]);
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  server.closeAllConnections();
  server.close();
  setDefaultCACertificates([]);
});

function connect(change: Record<string, unknown> = {}, credentials: Record<string, string> = {}) {
  return service.org.rest("POST", "/api/connections", {
    integration: "custom:vault",
    authMethod: "mtls",
    baseUrl,
    credentials: { certificate, privateKey, ...credentials },
    ...change,
  });
}

test("a service that asks for a client certificate is called with the connection's, whose key appears nowhere", async () => {
  const { status, body } = await connect();
  expect(status).toBe(201);
  const call = { service: body.data.connection.id as string, method: "GET", path: "/" };
  const reply = await service.org.rest("POST", "/api/service-calls", call);
  expect(reply.body.data).toMatchObject({ status: 200, text: "client one" });
  const plan = await service.org.rest("POST", "/api/actions/plan", call);
  expect(plan.status).toBe(200);
  const [, keyText = ""] = privateKey.split("\n");
  expect(JSON.stringify([body, reply.body, plan.body]) + service.logged()).not.toContain(keyText);
});

test.each<[string, Record<string, unknown>, Record<string, string>, RegExp]>([
  ["a key of another certificate", {}, { privateKey: pem("test-only-client-two.key.pem") }, /^privateKey: /],
  ["a certificate that is none", {}, { certificate: "none" }, /^certificate: /],
  ["a base URL without TLS", { baseUrl: "http://127.0.0.1:1" }, {}, /^baseUrl: .*https/],
])("%s is refused when it is to be stored", async (_, change, credentials, message) => {
  const { status, body } = await connect(change, credentials);
  expect([status, body.error]).toStrictEqual([400, expect.stringMatching(message)]);
});
