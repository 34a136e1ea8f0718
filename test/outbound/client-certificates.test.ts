import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { setDefaultCACertificates, type PeerCertificate, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { certificateProblem } from "#src/outbound/certificate.ts";
import type { OutboundCredential } from "#src/outbound/injection.ts";
import { localClient } from "./network.ts";

const pem = (name: string) => readFileSync(new URL(name, import.meta.url), "utf8");
const authority = pem("../net/test-only.cert.pem");
const one = {
  certificate: pem("test-only-client-one.cert.pem"),
  privateKey: pem("test-only-client-one.key.pem"),
};
const two = {
  certificate: pem("test-only-client-two.cert.pem"),
  privateKey: pem("test-only-client-two.key.pem"),
};

beforeAll(() => setDefaultCACertificates([authority]));
afterAll(() => setDefaultCACertificates([]));

/** A server that talks to clients of its authority only, and answers who they are; over TLS of one version or the other. */
async function startServer(maxVersion: "TLSv1.2" | "TLSv1.3" = "TLSv1.3") {
  const sockets = new Set<Duplex>();
  const shown: string[] = [];
  const server: Server = createServer(
    {
      cert: authority,
      key: pem("../net/test-only.key.pem"),
      ca: authority,
      requestCert: true,
      rejectUnauthorized: true,
      maxVersion,
    },
    (request, response) => {
      const peer: PeerCertificate = (request.socket as TLSSocket).getPeerCertificate();
      response.end(String(peer.subject.CN));
    },
  );
  server.on("secureConnection", (socket) => shown.push(String(socket.getPeerCertificate().subject.CN)));
  server.on("connection", (socket) => void sockets.add(socket));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    origin: `https://127.0.0.1:${port}`,
    /** Whom each socket belonged to. */
    shown,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

const nothing = { headers: {}, query: {}, cookies: {}, body: {}, secrets: [] };

function showing(
  boundTo: string,
  certificate: { certificate: string; privateKey: string },
): OutboundCredential {
  return { boundTo, reveal: () => ({ ...nothing, certificate }) };
}

describe("a service that asks for a client certificate", () => {
  test.each(["TLSv1.2", "TLSv1.3"] as const)("sees the connection's, over %s", async (version) => {
    await using server = await startServer(version);
    await using client = localClient();
    const credential = showing(server.origin, one);
    const { status, body } = await client.get(server.origin, { credential });
    expect([status, body.toString()]).toStrictEqual([200, "client one"]);
  });

  test("ends a call without one, and the caller learns what may be missing", async () => {
    await using server = await startServer("TLSv1.2");
    await using client = localClient();
    await expect(client.get(server.origin)).rejects.toMatchObject({
      reason: "UPSTREAM_UNREACHABLE",
      message: "TLS: 127.0.0.1 refuses the TLS handshake; check whether it asks for a client certificate",
    });
  });

  test("never sees a certificate on a socket that was opened with another one, or with none", async () => {
    await using server = await startServer();
    await using client = localClient();
    const who = async (certificate: typeof one) => {
      const { body } = await client.get(server.origin, { credential: showing(server.origin, certificate) });
      return body.toString();
    };
    const answers = [await who(one), await who(two), await who(one), await who(two)];
    expect(answers).toStrictEqual(["client one", "client two", "client one", "client two"]);
    // Each kept its own socket.
    expect(server.shown).toStrictEqual(["client one", "client two"]);
    await expect(client.get(server.origin)).rejects.toMatchObject({ reason: "UPSTREAM_UNREACHABLE" });
    // A key without its certificate, and the other way round, is another pair, too.
    const mixed = { certificate: one.certificate, privateKey: two.privateKey };
    await expect(who(mixed)).rejects.toMatchObject({ reason: "INVALID_OUTBOUND_REQUEST" });
  });

  test("does not get one whose own certificate nobody vouches for", async () => {
    await using server = await startServer();
    await using client = localClient();
    setDefaultCACertificates([]);
    try {
      const sent = client.get(server.origin, { credential: showing(server.origin, one) });
      await expect(sent).rejects.toMatchObject({ metadata: { stage: "TLS" } });
      expect(server.shown).toStrictEqual([]);
    } finally {
      setDefaultCACertificates([authority]);
    }
  });
});

test("a client certificate is not taken to a service that speaks no TLS", async () => {
  await using client = localClient();
  const sent = client.get("http://127.0.0.1:1", { credential: showing("http://127.0.0.1:1", one) });
  await expect(sent).rejects.toMatchObject({
    reason: "INVALID_OUTBOUND_REQUEST",
    message: expect.stringContaining("https://") as string,
  });
});

const encrypted = generateKeyPairSync("ec", {
  namedCurve: "prime256v1",
  publicKeyEncoding: { type: "spki", format: "pem" },
  privateKeyEncoding: { type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "hunter2" },
}).privateKey;

describe("a certificate that cannot be shown is refused by name, when it is checked and when it is sent", () => {
  test.each([
    ["no certificate", { ...one, certificate: "" }, /^certificate: give it in PEM/],
    ["a certificate that is no PEM", { ...one, certificate: "canary-5d1e" }, /^certificate: give it in PEM/],
    [
      "a damaged one",
      { ...one, certificate: one.certificate.replace(/M/, "*") },
      /^certificate: give it in PEM/,
    ],
    [
      "a key in the certificate's place",
      { ...one, certificate: one.privateKey },
      /^certificate: give it in PEM/,
    ],
    ["no key", { ...one, privateKey: "" }, /^privateKey: give it in PEM/],
    [
      "a certificate in the key's place",
      { ...one, privateKey: one.certificate },
      /^privateKey: give it in PEM/,
    ],
    ["an encrypted key", { ...one, privateKey: encrypted }, /^privateKey: it is encrypted/],
    [
      "another certificate's key",
      { ...one, privateKey: two.privateKey },
      /^privateKey: it is not the key of/,
    ],
    [
      "a damaged certificate behind it",
      {
        ...one,
        certificate: `${one.certificate}-----BEGIN CERTIFICATE-----\ncanary-5d1e\n-----END CERTIFICATE-----\n`,
      },
      /^certificate: TLS does not take it/,
    ],
  ])("%s", async (_, pair, problem) => {
    expect(certificateProblem(pair.certificate, pair.privateKey)).toMatch(problem);
    await using client = localClient();
    const sent = client.get("https://127.0.0.1:1", { credential: showing("https://127.0.0.1:1", pair) });
    const error = await sent.then(String, (thrown: Error) => thrown);
    expect(error).toMatchObject({ reason: "INVALID_OUTBOUND_REQUEST" });
    expect(JSON.stringify(error) + String(error)).not.toContain("canary-5d1e");
  });

  test("while a pair that fits is fine, also with its authority behind it", () => {
    expect(certificateProblem(one.certificate, one.privateKey)).toBeUndefined();
    expect(certificateProblem(one.certificate + authority, one.privateKey)).toBeUndefined();
  });
});
