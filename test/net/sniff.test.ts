import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import type { Handler } from "#src/platform/http.ts";
import { frameType, framesIn, get, preface, settings } from "./http2-frames.ts";
import { fetchHttp1, openSocket, startPort, startProcess } from "./support.ts";

const sayVersion: Handler = (request, response) => {
  request.resume().on("end", () => response.end(`${request.method} over ${request.httpVersion}`));
};

// First and in another process: a port that these bytes keep busy would hang the tests below without a word.
beforeAll(async () => {
  await using server = await startProcess("node", "test/net/port-process.ts");
  using waiting = new DisposableStack();
  for (const start of ["P", "PR", "PRI", ""]) await waiting.use(await openSocket(server.port)).send(start);
  const answering = AbortSignal.timeout(5_000);
  for (let i = 0; i < 20; i++) {
    const response = await fetch(server.origin, { signal: answering }).catch(() => undefined);
    expect(
      await response?.text(),
      "the answer while other clients have sent the start of HTTP/2 and wait",
    ).toBe("here");
  }
});

test("the port answers properly however the first bytes are cut into packets", async () => {
  await using port = await startPort({ handler: sayVersion });
  const requests = [
    ...["GET", "POST", "PUT", "PATCH", "PROPFIND"].map((method) => ({
      bytes: Buffer.from(
        `${method} / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi`,
      ),
      answered: (received: Buffer) => received.toString().endsWith(`\r\n\r\n${method} over 1.1`),
    })),
    {
      bytes: Buffer.concat([preface, settings(), get(1, "/")]),
      answered: (received: Buffer) =>
        [...framesIn(received)].some(
          ({ type, payload }) => type === frameType.data && payload.equals(Buffer.from("GET over 2.0")),
        ),
    },
  ];
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...requests),
      // Mostly within the bytes that decide.
      fc.uniqueArray(fc.oneof(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 60 })), {
        maxLength: 8,
      }),
      async ({ bytes, answered }, cuts) => {
        using client = await port.connect();
        let from = 0;
        for (const to of [...cuts.sort((a, b) => a - b), bytes.length]) {
          await client.send(bytes.subarray(from, to));
          // The server, in the same process, reads what has arrived.
          await turn();
          from = to;
        }
        await client.until(answered);
      },
    ),
    { numRuns: 100 },
  );
});

describe("a client that has not said which protocol it speaks", () => {
  test.each(["", "P", "PR"])("is cut if it sends %j and waits", async (start) => {
    await using port = await startPort({ handler: sayVersion, limits: { firstBytesMs: 30 } });
    using client = await port.connect();
    await client.send(start);
    await client.closed();
  });

  test("is cut if it hangs up", async () => {
    await using port = await startPort({ handler: sayVersion });
    using client = await port.connect();
    await client.send("PR");
    client.end();
    await client.closed();
  });
});

test("a client that starts with PRI and goes on otherwise is cut", async () => {
  await using port = await startPort({ handler: sayVersion });
  using client = await port.connect();
  await client.send("PRINT / HTTP/1.1\r\nhost: a\r\n\r\n");
  await client.closed();
  expect(await fetchHttp1(port.origin)).toBe("GET over 1.1");
});

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
}
