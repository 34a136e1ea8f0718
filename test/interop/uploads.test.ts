import { once } from "node:events";
import { connect as connectHttp2, constants } from "node:http2";
import { connect } from "node:net";
import type { Duplex } from "node:stream";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startService, type TestService } from "../support/service.ts";

// curl, among others, takes a connection or stream that breaks while it sends for a failure, and drops the answer.

let service: TestService;

beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

const paths = ["/api/service-calls", "/patchbay.connections.v1.ConnectionService/CallService"];

/** Sends more than would fit on the way if nobody took it. */
async function goOnSending(upload: Duplex): Promise<void> {
  const write = promisify<Buffer, void>(upload.write.bind(upload));
  for (let i = 0; i < 10; i++) await write(Buffer.alloc(64 * 1024));
}

test.each(paths)(
  "an upload to %s that is refused over HTTP/1.1 may go on until its sender has seen why",
  async (path) => {
    const { hostname, port } = new URL(service.url);
    const upload = connect(Number(port), hostname);
    let answer = "";
    upload.setEncoding("utf8").on("data", (text) => (answer += text));
    upload.write(
      `POST ${path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 5000000\r\n\r\n`,
    );
    await once(upload, "data");
    await goOnSending(upload);
    await once(upload.end(), "close");
    expect(answer).toMatch(/^HTTP\/1\.1 401 /);
    expect(answer.toLowerCase()).toContain("connection: close");
  },
);

test.each(paths)(
  "an upload to %s that is refused over HTTP/2 may go on until its sender has seen why",
  async (path) => {
    const session = connectHttp2(service.url);
    const upload = session.request({ ":method": "POST", ":path": path, "content-type": "application/json" });
    const [headers] = (await once(upload, "response")) as [Record<string, unknown>];
    await once(upload.resume(), "end");
    await goOnSending(upload);
    // For a sender that never stops, it is ended all the same.
    await once(upload, "close");
    expect([headers[":status"], upload.rstCode]).toStrictEqual([401, constants.NGHTTP2_NO_ERROR]);
    session.close();
  },
);

test("what follows a refused upload on its connection is not run", async () => {
  const { hostname, port } = new URL(service.url);
  const socket = connect(Number(port), hostname);
  socket.write(
    `POST ${paths[0]} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n`,
  );
  await once(socket, "data");
  socket.write("0123456789GET /healthz HTTP/1.1\r\nhost: a\r\nx-request-id: that-follows\r\n\r\n");
  await once(socket.end().resume(), "close");
  await fetch(`${service.url}/healthz`, { headers: { "x-request-id": "that-comes-later" } });
  expect(service.logged()).toContain("that-comes-later");
  expect(service.logged()).not.toContain("that-follows");
});
