import { once } from "node:events";
import { constants } from "node:http2";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import type { Handler, Response } from "#src/platform/http.ts";
import { connectHttp2, fetchHttp2, startPort } from "./support.ts";

/** Holds every request until it is told to answer the oldest; notes the order in which they began. */
function holding() {
  const begun: (string | undefined)[] = [];
  const held: Response[] = [];
  const handler: Handler = (request, response) => {
    begun.push(request.url);
    held.push(response);
    request.resume();
  };
  return {
    begun,
    handler,
    answerOldest: () => void held.shift()?.end("done"),
    async until(count: number) {
      while (begun.length < count) await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

const limits = { requestsPerConnection: 2, waitingStreams: 3 };

test("requests beyond those that run begin in their order, and those given up meanwhile never do", async () => {
  const { begun, handler, answerOldest, until } = holding();
  await using port = await startPort({ handler, limits });
  using session = connectHttp2(port.origin);
  const ask = (path: string) => session.request({ ":path": path });
  const [, , third, fourth, fifth] = ["/1", "/2", "/3", "/4", "/5"].map(ask);
  const answers = Promise.all([fourth!, fifth!].map((stream) => text(stream)));
  await until(2);
  // A connection of its own has its own turns.
  using other = connectHttp2(port.origin);
  const beside = text(other.request({ ":path": "/beside" }));
  await until(3);
  third!.close(constants.NGHTTP2_CANCEL);
  await once(third!, "close");
  for (let answered = 0; answered < 5; answered++) {
    answerOldest();
    await until(Math.min(5, 4 + answered));
  }
  expect([...(await answers), await beside]).toEqual(Array(3).fill("done"));
  expect(begun).toEqual(["/1", "/2", "/beside", "/4", "/5"]);
});

test("beyond all that may wait, a stream is refused as one that had no effect, and the session goes on", async () => {
  const { handler, answerOldest, until } = holding();
  await using port = await startPort({ handler, limits });
  using session = connectHttp2(port.origin);
  const streams = Array.from({ length: 6 }, () => session.request({ ":path": "/" }));
  const answers = Promise.all(streams.slice(0, 5).map((stream) => text(stream)));
  const last = streams.at(-1)!.on("error", () => {});
  await new Promise((resolve) => last.once("close", resolve));
  expect(last.rstCode).toBe(constants.NGHTTP2_REFUSED_STREAM);
  for (let count = 2; count <= 5; count++) {
    await until(count);
    answerOldest();
  }
  answerOldest();
  expect(await answers).toEqual(Array(5).fill("done"));
  const again = fetchHttp2(session);
  await until(6);
  answerOldest();
  expect(await again).toBe("done");
});

test("a request that waits is not cut for being slow, and is answered before the port closes", async () => {
  const { handler, answerOldest, until } = holding();
  await using port = await startPort({
    handler,
    limits: { ...limits, stalledMs: 30, requestMs: 60, headersMs: 60 },
  });
  using session = connectHttp2(port.origin);
  const running = [fetchHttp2(session), fetchHttp2(session)];
  // More than the server takes of a body that is not read.
  const waiting = session.request({ ":method": "POST", ":path": "/" });
  waiting.write(Buffer.alloc(200_000));
  await until(2);
  // A client in the wrong that came later is cut meanwhile.
  using stalled = await port.connect();
  await stalled.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf");
  await stalled.closed();
  const drained = port.drain(60_000);
  answerOldest();
  answerOldest();
  waiting.end();
  await until(4);
  answerOldest();
  answerOldest();
  expect(await Promise.all([...running, text(waiting)])).toEqual(Array(3).fill("done"));
  expect(await drained).toBe(true);
});
