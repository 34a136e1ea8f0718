import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect as connectTcp, createServer, Socket, type AddressInfo } from "node:net";
import { createServer as createTlsServer, setDefaultCACertificates, type TlsOptions } from "node:tls";
import { afterAll, describe, expect, test } from "vitest";
import { ConnectFailed } from "#src/outbound/connector.ts";
import { upstreamFailure } from "#src/outbound/failures.ts";
import { fakeLookup, localClient, response, startUpstream, type Answer } from "./network.ts";

/** A port of this machine where nothing listens. */
async function closedPort(): Promise<number> {
  await using upstream = await startUpstream("");
  return upstream.port;
}

const silent: Answer = () => {};

describe("a connection that fails says how far it got", () => {
  test("DNS: the name does not exist", async () => {
    await using client = localClient({ lookup: fakeLookup({}).lookup });
    await expect(client.get("http://gone.example")).rejects.toMatchObject({
      reason: "UPSTREAM_UNREACHABLE",
      metadata: { stage: "DNS" },
      message: "DNS: gone.example has no address; check the host name in the base URL",
    });
  });

  test("DNS: the name has no address", async () => {
    await using client = localClient({ lookup: fakeLookup({ "empty.example": [] }).lookup });
    await expect(client.get("http://empty.example")).rejects.toMatchObject({ metadata: { stage: "DNS" } });
  });

  test.each(["127.0.0.1", "localhost"])("TCP: nothing listens on %s", async (host) => {
    await using client = localClient({ lookup: fakeLookup({ localhost: ["127.0.0.1", "::1"] }).lookup });
    await expect(client.get(`http://${host}:${await closedPort()}`)).rejects.toMatchObject({
      metadata: { stage: "TCP" },
      message: `TCP: ${host} refuses the connection; check the port, and that the service is running`,
    });
  });

  test("TLS: the port speaks plain HTTP", async () => {
    const plain = createServer((socket) =>
      socket.on("error", () => {}).end("HTTP/1.1 400 Bad Request\r\n\r\n"),
    );
    plain.listen(0, "127.0.0.1");
    await once(plain, "listening");
    await using client = localClient();
    const sent = client.get(`https://127.0.0.1:${(plain.address() as AddressInfo).port}`);
    await expect(sent).rejects.toMatchObject({
      message: "TLS: 127.0.0.1 does not speak TLS on this port; check the port, or use http://",
    });
    plain.close();
  });

  test.each([
    ["ENOTFOUND", "DNS"],
    ["ECONNREFUSED", "TCP"],
    ["EHOSTUNREACH", "TCP"],
    ["CERT_HAS_EXPIRED", "TLS"],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "TLS"],
    ["EANYTHINGELSE", "TCP"],
  ] as const)("%s is told in our words", (code, stage) => {
    const error = upstreamFailure(new ConnectFailed(stage, code), "bank.example") as Error;
    expect(error).toMatchObject({ reason: "UPSTREAM_UNREACHABLE", metadata: { stage } });
    expect(error.message).toMatch(new RegExp(`^${stage}: bank\\.example `));
  });

  test("a fault of ours stays one", () => {
    const fault = new TypeError("x is not a function");
    expect(upstreamFailure(fault, "bank.example")).toBe(fault);
  });
});

describe("a connection that does not come about in time says where it stuck", () => {
  test("DNS: no answer", async () => {
    await using client = localClient({ limits: { connectMs: 30 }, lookup: () => {} });
    await expect(client.get("http://slow.example")).rejects.toMatchObject({
      reason: "UPSTREAM_TIMEOUT",
      metadata: { stage: "DNS" },
    });
  });

  test("row 36, TCP: no answer", async () => {
    await using client = localClient({ limits: { connectMs: 30 }, connect: () => new Socket() });
    await expect(client.get("http://127.0.0.1")).rejects.toMatchObject({
      reason: "UPSTREAM_TIMEOUT",
      metadata: { stage: "TCP" },
    });
  });

  test("row 36, TLS: silence", async () => {
    await using upstream = await startUpstream(silent);
    await using client = localClient({ limits: { connectMs: 250 } });
    const sent = client.get(`https://127.0.0.1:${upstream.port}`);
    await expect(sent).rejects.toMatchObject({ reason: "UPSTREAM_TIMEOUT", metadata: { stage: "TLS" } });
    await upstream.abandoned();
  });

  test("also when the whole call's time is up first", async () => {
    await using client = localClient({ connect: () => new Socket() });
    const sent = client.get("http://127.0.0.1", { timeoutMs: 30 });
    await expect(sent).rejects.toMatchObject({
      reason: "UPSTREAM_TIMEOUT",
      message: "TCP: 127.0.0.1 did not answer completely in 0.03 s",
    });
  });
});

describe("a call that was sent", () => {
  test("says so when its time is up, although another to the same origin is still connecting", async () => {
    await using upstream = await startUpstream(silent);
    let sockets = 0;
    const connecting = Promise.withResolvers<void>();
    await using client = localClient({
      limits: { connectMs: 60_000 },
      connect: (options) => {
        if (sockets++ === 0) return connectTcp(options);
        connecting.resolve();
        return new Socket();
      },
    });
    const caller = new AbortController();
    const paid = client.get(upstream.origin, { method: "POST", timeoutMs: 3_000 }).catch(String);
    await expect.poll(() => upstream.received, { timeout: 3_000 }).toContain("POST");
    const stuck = client.get(upstream.origin, { signal: caller.signal }).catch(String);
    await connecting.promise;
    expect(await paid).toMatch(/HTTP: 127\.0\.0\.1 did not answer completely/);
    caller.abort();
    await stuck;
  });
});

describe("TLS", () => {
  const testOnly = (kind: string) => readFileSync(new URL(`../net/test-only.${kind}.pem`, import.meta.url));
  const trust = () => setDefaultCACertificates([testOnly("cert").toString()]);
  afterAll(() => setDefaultCACertificates([]));

  async function startTls(answer: Buffer, options: TlsOptions = {}) {
    const seen = { requests: 0, alpn: "" as string | false | null, servername: "" as string | false };
    const server = createTlsServer({ key: testOnly("key"), cert: testOnly("cert"), ...options }, (socket) => {
      socket.on("error", () => {});
      socket.on("data", () => {
        seen.requests++;
        seen.alpn = socket.alpnProtocol;
        seen.servername = socket.servername ?? "";
        socket.end(answer);
      });
    });
    server.on("tlsClientError", () => {});
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return {
      seen,
      port: (server.address() as AddressInfo).port,
      async [Symbol.asyncDispose]() {
        server.close();
        await once(server, "close");
      },
    };
  }

  const { lookup } = fakeLookup({
    localhost: ["127.0.0.1"],
    "localhost.": ["127.0.0.1"],
    "other.example": ["127.0.0.1"],
  });

  test("a certificate that nobody vouches for ends the call before the request", async () => {
    await using server = await startTls(response("ok"));
    await using client = localClient({ lookup });
    await expect(client.get(`https://localhost:${server.port}`)).rejects.toMatchObject({
      reason: "UPSTREAM_UNREACHABLE",
      metadata: { stage: "TLS" },
      message: expect.stringContaining("NODE_EXTRA_CA_CERTS"),
    });
    expect(server.seen.requests).toBe(0);
  });

  test("Node's switch against checking certificates does not reach us", async () => {
    await using server = await startTls(response("ok"));
    await using client = localClient({ lookup });
    const before = process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
    process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";
    try {
      await expect(client.get(`https://localhost:${server.port}`)).rejects.toMatchObject({
        metadata: { stage: "TLS" },
      });
    } finally {
      if (before === undefined) delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
      else process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = before;
    }
  });

  test("a trusted certificate for another name ends the call before the request", async () => {
    trust();
    await using server = await startTls(response("ok"));
    await using client = localClient({ lookup });
    await expect(client.get(`https://other.example:${server.port}`)).rejects.toMatchObject({
      metadata: { stage: "TLS" },
      message: "TLS: other.example has a certificate for another host name; check the base URL",
    });
    expect(server.seen.requests).toBe(0);
  });

  test.each(["localhost", "localhost.", "127.0.0.1"])(
    "a trusted certificate for %s lets the call through, as HTTP/1.1",
    async (host) => {
      trust();
      await using server = await startTls(response("ok", "connection: close\r\n"), {
        ALPNProtocols: ["h2", "http/1.1"],
      });
      await using client = localClient({ lookup });
      expect(await client.get(`https://${host}:${server.port}`)).toMatchObject({
        status: 200,
        body: Buffer.from("ok"),
      });
      expect(server.seen).toEqual({
        requests: 1,
        alpn: "http/1.1",
        servername: host === "127.0.0.1" ? false : "localhost",
      });
    },
  );

  test("row 31: a redirect from https to http is answered, not followed", async () => {
    trust();
    await using plain = await startUpstream(response("stolen"));
    const moved = response("", `location: ${plain.origin}\r\nconnection: close\r\n`, "301 Moved Permanently");
    await using server = await startTls(moved);
    await using client = localClient({ lookup });
    expect(await client.get(`https://localhost:${server.port}`)).toMatchObject({ status: 301 });
    expect(plain.connections).toBe(0);
  });
});

describe("a call", () => {
  test("finds localhost through the system's resolver", async () => {
    await using upstream = await startUpstream(response("ok"));
    await using client = localClient();
    expect(await client.get(`http://localhost:${upstream.port}`)).toMatchObject({ status: 200 });
  });

  test("uses the socket of the one before", async () => {
    await using upstream = await startUpstream(response("ok"));
    await using client = localClient();
    for (let i = 0; i < 20; i++) await client.get(upstream.origin);
    // undici takes a second one when a call follows in the same turn of the event loop.
    expect(upstream.connections).toBeLessThanOrEqual(2);
  });

  test.each<[string, Answer]>([
    ["while it waits for the answer", silent],
    ["in the middle of the answer", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"],
  ])(
    "that its caller gives up %s ends at once, with the caller's reason, and its socket is closed",
    async (_, answer) => {
      const caller = new AbortController();
      const reason = new Error("the caller went away");
      await using upstream = await startUpstream((socket) => {
        if (typeof answer === "string") socket.write(answer);
        setImmediate(() => caller.abort(reason));
      });
      await using client = localClient();
      await expect(client.get(upstream.origin, { signal: caller.signal })).rejects.toBe(reason);
      await upstream.abandoned();
    },
  );

  test("whose caller is already gone sends nothing", async () => {
    await using upstream = await startUpstream(response("ok"));
    await using client = localClient();
    const gone = client.get(upstream.origin, { signal: AbortSignal.abort(new Error("gone")) });
    await expect(gone).rejects.toThrow("gone");
    expect(upstream.received).toBe("");
  });

  test("cannot be given more time than the limit", async () => {
    await using upstream = await startUpstream(silent);
    await using client = localClient({ limits: { totalMs: 30 } });
    await expect(client.get(upstream.origin, { timeoutMs: 60_000 })).rejects.toMatchObject({
      reason: "UPSTREAM_TIMEOUT",
    });
  });

  test("that fails is not tried again", async () => {
    await using upstream = await startUpstream((socket) => socket.destroy());
    await using client = localClient();
    await expect(client.get(upstream.origin)).rejects.toMatchObject({ reason: "UPSTREAM_UNREACHABLE" });
    expect(upstream.received.match(/GET/g)).toHaveLength(1);
  });
});

describe("closing", () => {
  test("cuts calls that wait for an answer", async () => {
    const arrived = Promise.withResolvers<void>();
    await using upstream = await startUpstream(() => arrived.resolve());
    await using client = localClient();
    const sent = client.get(upstream.origin);
    const outcome = expect(sent).rejects.toMatchObject({ reason: "UPSTREAM_UNREACHABLE" });
    await arrived.promise;
    await client.close();
    await outcome;
  });

  test("cuts calls that are still connecting, and their sockets", async () => {
    const dialled = Promise.withResolvers<Socket>();
    const connect = (): Socket => {
      const socket = new Socket();
      dialled.resolve(socket);
      return socket;
    };
    await using client = localClient({ connect });
    const outcome = expect(client.get("http://127.0.0.1")).rejects.toMatchObject({
      reason: "UPSTREAM_UNREACHABLE",
    });
    const socket = await dialled.promise;
    await client.close();
    expect(socket.destroyed).toBe(true);
    await outcome;
  });
});
