import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { createSecureServer } from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { VerificationService } from "#gen/patchbay/verification/v1/verification_service_pb.js";
import { createGuard } from "#src/client/guard/guard.ts";
import { UnreferencedSessions } from "#src/client/guard/unreferenced-sessions.ts";
import { testTls } from "../net/support.ts";

test("a connection that does not come about keeps no process alive, and is given up with its socket", async () => {
  const sockets: Socket[] = [];
  const note = (message: unknown) => sockets.push((message as { socket: Socket }).socket);
  const keepingAlive = () => process.getActiveResourcesInfo().filter((name) => name.startsWith("TCP")).length;
  const before = keepingAlive();
  subscribe("net.client.socket", note);
  // A name that nobody resolves stands for a Patchbay that nobody reaches.
  const sessions = new UnreferencedSessions("http://patchbay.example", {}, { lookup: () => undefined });
  const connecting = sessions.connect();
  unsubscribe("net.client.socket", note);
  expect(sockets).toHaveLength(1);
  expect(keepingAlive()).toBe(before);
  sessions.abort();
  expect(sockets[0]!.destroyed).toBe(true);
  expect(await connecting).toBe("error");
});

test("over TLS, the certificate is checked, and the options of the connection count", async () => {
  const answer = connectNodeAdapter({
    routes: (router) =>
      router.service(VerificationService, {
        verifyKey: () => ({ valid: true, principal: { apiKeyId: "key_1" } }),
      }),
  });
  const server = createSecureServer(testTls, answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const named: (string | false | null)[] = [];
  server.on("secureConnection", ({ servername }) => named.push(servername));
  for (const [host, nodeOptions, isLetIn] of [
    ["localhost", { ca: testTls.cert }, true],
    ["127.0.0.1", { ca: testTls.cert }, true],
    ["127.0.0.1", { ca: testTls.cert, servername: "other.example" }, false],
    ["localhost", {}, false],
  ] as const) {
    const baseUrl = `https://${host}:${port}`;
    const guard = createGuard({ baseUrl, apiKey: "key", nodeOptions, onError: () => undefined });
    const { principal } = await guard.verify({ key: "Bearer key" });
    expect([host, nodeOptions, principal !== undefined]).toEqual([host, nodeOptions, isLetIn]);
    guard.close();
  }
  // By what a proxy that serves many hosts finds the right one.
  expect(named.slice(0, 2)).toEqual(["localhost", false]);
  server.close();
});
