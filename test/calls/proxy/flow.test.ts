import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { connect } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { open, open2, proxyPath, readAll, startProxied } from "./support.ts";

let running: Awaited<ReturnType<typeof startProxied>>;
beforeAll(async () => {
  running = await startProxied();
});
afterAll(() => running[Symbol.asyncDispose]());

const mebibyte = 1024 * 1024;
const piece = Buffer.alloc(64 * 1024, "x");
/** More than all buffers between two programs on this machine hold together, those of the kernel included. */
const moreThanFits = 64 * mebibyte;

/** Writes until the writer says that it is full and stays so, and answers how many bytes it took. */
async function fill(writer: { write(piece: Buffer): boolean; writableLength: number }): Promise<number> {
  let bytes = 0;
  for (let stuck = 0; stuck < 200 && bytes < 2 * moreThanFits;) {
    if (writer.writableLength > mebibyte) {
      stuck++;
      await turn();
    } else {
      stuck = 0;
      writer.write(piece);
      bytes += piece.length;
    }
    if (stuck > 0) await new Promise((later) => setTimeout(later, 2));
  }
  return bytes;
}

describe("a service is sent no more than it takes, and asked for no more than is read:", () => {
  test("over HTTP/1.1, of an answer that its caller does not read", async () => {
    const begun = Promise.withResolvers<ServerResponse>();
    running.upstream.serve((_request, response) => begun.resolve(response.writeHead(200)));
    const { port } = new URL(running.service.url);
    const caller = connect(Number(port), "127.0.0.1");
    const { secret } = running.service.org;
    caller.write(`GET ${proxyPath("/x")} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${secret}\r\n\r\n`);
    caller.pause();
    expect(await fill(await begun.promise)).toBeLessThan(moreThanFits);
    caller.destroy();
  });

  test("over HTTP/2, of an answer that its caller does not read", async () => {
    const begun = Promise.withResolvers<ServerResponse>();
    running.upstream.serve((_request, response) => begun.resolve(response.writeHead(200)));
    const { session, stream } = open2(running.service, proxyPath("/x"));
    stream.pause();
    expect(await fill(await begun.promise)).toBeLessThan(moreThanFits);
    session.destroy();
  });

  test("over HTTP/1.1, of a body that the service does not read", async () => {
    running.upstream.serve((request) => void request.pause());
    const { request } = open(running.service, proxyPath("/x"), { method: "POST" });
    expect(await fill(request)).toBeLessThan(moreThanFits);
    request.destroy();
  });

  test("over HTTP/2, of a body that the service does not read", async () => {
    running.upstream.serve((request) => void request.pause());
    const { session, stream } = open2(running.service, proxyPath("/x"), { method: "POST" });
    expect(await fill(stream)).toBeLessThan(moreThanFits);
    session.destroy();
  });
});

describe.each([
  ["HTTP/1.1", 1],
  ["HTTP/2", 2],
])("over %s, all bytes arrive", (_, version) => {
  test("of a large body and a large answer", async () => {
    const bytes = 16 * mebibyte;
    running.upstream.serve((request, response) => void request.pipe(response));
    const announced = { "content-length": String(bytes) };
    const { sender, answered } =
      version === 1
        ? ((one) => ({ sender: one.request, answered: one.response }))(
            open(running.service, proxyPath("/x"), { method: "PUT", headers: announced }),
          )
        : ((one) => ({ sender: one.stream, answered: Promise.resolve(one.stream) }))(
            open2(running.service, proxyPath("/x"), { method: "PUT", headers: announced }),
          );
    let received = 0;
    const reading = answered.then(async (answer) => {
      answer.on("data", (data: Buffer) => (received += data.length));
      await once(answer, "end");
    });
    for (let sent = 0; sent < bytes; sent += piece.length) {
      if (!sender.write(piece)) await once(sender, "drain");
    }
    sender.end();
    await reading;
    expect(received).toBe(bytes);
    expect(running.upstream.asked.at(-1)?.headers["content-length"]).toBe(String(bytes));
  });
});

test("a service that answers before the body has ended is heard", async () => {
  running.upstream.serve((_request, response) => {
    response.writeHead(413, { connection: "close" }).end("too large");
  });
  const { request, response } = open(running.service, proxyPath("/x"), { method: "POST" });
  request.write(piece);
  const answer = await response;
  expect([answer.statusCode, (await readAll(answer)).text]).toEqual([413, "too large"]);
});

test("Expect: 100-continue is answered here, and not passed on", async () => {
  running.upstream.serve((request, response) => void request.pipe(response));
  const { request, response } = open(running.service, proxyPath("/x"), {
    method: "POST",
    headers: { expect: "100-continue", "transfer-encoding": "chunked" },
  });
  request.flushHeaders();
  await once(request, "continue");
  request.end("now");
  expect((await readAll(await response)).text).toBe("now");
  expect(running.upstream.asked.at(-1)?.headers.expect).toBeUndefined();
});

test("a stream ends when its key is revoked", async () => {
  running.upstream.serve((_request, response) => response.writeHead(200).flushHeaders());
  const { apiKeys } = running.service.org.client;
  const { secret, apiKey } = await apiKeys.createApiKey({ name: "short", scopes: ["connections:use"] });
  const { request, response } = open(
    { url: running.service.url, org: { ...running.service.org, secret } },
    proxyPath("/x"),
  );
  request.end();
  const answer = await response;
  await apiKeys.revokeApiKey({ id: apiKey!.id });
  expect((await readAll(answer)).isWhole).toBe(false);
}, 60_000);

test("a service that is not there is a failure of its own", async () => {
  await running.service.org.client.connections.upsertServiceConnection({
    serviceSlug: "custom:gone",
    baseUrl: "http://127.0.0.1:1",
    apiKey: "a-key-that-nobody-sees",
  });
  const { request, response } = open(running.service, proxyPath("/x", "custom:gone"));
  request.end();
  const answer = await response;
  expect([answer.statusCode, answer.headers["x-error-reason"]]).toEqual([502, "UPSTREAM_UNREACHABLE"]);
  expect(answer.headers["x-patchbay-source"]).toBe("patchbay");
});

test("a good answer makes the connection healthy and used", async () => {
  const { service, upstream, connectionId } = running;
  service.clock.advance(1_000);
  upstream.serve((_request, response) => response.end());
  const { request, response } = open(service, proxyPath("/x"));
  request.end();
  await readAll(await response);
  const { connection } = await service.org.client.connections.getConnection({ id: connectionId });
  expect(Number(connection?.lastUsedAt?.seconds)).toBe(Math.floor(service.clock.now().getTime() / 1000));
  expect(connection?.lastHealthyAt).toEqual(connection?.lastUsedAt);
});

test("nothing of all that wrote a line at level error", () => {
  const lines = running.service.logged().trim().split("\n");
  expect(lines.filter((line) => (JSON.parse(line) as { level: number }).level >= 50)).toEqual([]);
});
