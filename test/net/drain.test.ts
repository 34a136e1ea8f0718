import { once } from "node:events";
import http from "node:http";
import https from "node:https";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { connectNodeAdapter, createGrpcTransport } from "@connectrpc/connect-node";
import { Client, credentials } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import {
  Health,
  HealthCheckRequestSchema,
  HealthCheckResponseSchema,
} from "#gen/grpc/health/v1/health_pb.js";
import { createPort } from "#src/net/port.ts";
import type { Handler } from "#src/platform/http.ts";
import { get, preface, settings } from "./http2-frames.ts";
import {
  connectHttp2,
  disposableAgent,
  fetchHttp1,
  fetchHttp2,
  gate,
  recordingLog,
  startPort,
  testTls,
  write,
} from "./support.ts";

// Far beyond the patience of a test: a drain that only ends by it fails.
const generous = 60_000;

const emptyRequest = create(HealthCheckRequestSchema);

const sayHello: Handler = (_request, response) => void response.end("hello");

/** A handler that sends half of each answer, and the rest when told. */
function slowHandler({ requests = 1 } = {}) {
  const begun = gate();
  const rest = gate();
  let count = 0;
  const handler: Handler = (_request, response) => {
    write(response, "first half, ");
    count += 1;
    if (count === requests) begun.open();
    void rest.opened.then(() => response.end("second half"));
  };
  return { handler, begun: begun.opened, finish: rest.open };
}

describe("a port that drains", () => {
  test("is done at once when no connection is open", async () => {
    await using port = await startPort({ handler: sayHello });
    expect(await port.drain(generous)).toBe(true);
  });

  test("answers the same when asked twice, and when it was never open", async () => {
    await using port = await startPort({ handler: sayHello });
    expect(await Promise.all([port.drain(generous), port.drain(generous)])).toEqual([true, true]);
    const closed = createPort({ handler: sayHello, log: recordingLog().log });
    expect(await closed.drain(generous)).toBe(true);
  });

  test("closes idle connections of both protocols without waiting for their clients' next move", async () => {
    await using port = await startPort({ handler: sayHello, limits: { lingerMs: generous } });
    using agent = disposableAgent();
    await fetchHttp1(port.origin, agent);
    using session = connectHttp2(port.origin);
    await fetchHttp2(session);
    expect(await port.drain(generous)).toBe(true);
  });

  test("does not wait for clients that were told to go and stay", async () => {
    await using port = await startPort({ handler: sayHello, limits: { lingerMs: 30 } });
    using silent = await port.connect();
    using halfRequest = await port.connect();
    await halfRequest.send("GET / HT");
    using session = await port.connect();
    await session.send(Buffer.concat([preface, settings(), get(1, "/")]));
    await session.until((received) => received.includes("hello"));
    expect(await port.drain(generous)).toBe(true);
    await Promise.all([silent.closed(), halfRequest.closed(), session.closed()]);
  });

  test("refuses new connections", async () => {
    const slow = slowHandler();
    await using port = await startPort({ handler: slow.handler });
    const answer = fetchHttp1(port.origin);
    await slow.begun;
    const drained = port.drain(generous);
    await expect(fetchHttp1(port.origin)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    slow.finish();
    expect(await answer).toBe("first half, second half");
    expect(await drained).toBe(true);
  });

  test("lets running requests of both protocols finish, and closes their connections", async () => {
    const slow = slowHandler({ requests: 2 });
    await using port = await startPort({ handler: slow.handler, limits: { lingerMs: generous } });
    using agent = disposableAgent();
    using session = connectHttp2(port.origin);
    const answers = [fetchHttp1(port.origin, agent), fetchHttp2(session)];
    await slow.begun;
    const drained = port.drain(generous);
    slow.finish();
    expect(await Promise.all(answers)).toEqual(["first half, second half", "first half, second half"]);
    expect(await drained).toBe(true);
  });

  test("tells the client of a request that it has not answered yet to close the connection", async () => {
    const arrived = gate();
    const rest = gate();
    await using port = await startPort({
      handler: (_request, response) => {
        arrived.open();
        void rest.opened.then(() => response.end());
      },
    });
    using agent = disposableAgent();
    const request = http.get(port.origin, { agent });
    await arrived.opened;
    const drained = port.drain(generous);
    rest.open();
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    expect(response.resume().headers.connection).toBe("close");
    expect(await drained).toBe(true);
  });

  test("takes no more streams on a session that has one running", async () => {
    const slow = slowHandler();
    await using port = await startPort({ handler: slow.handler });
    using session = connectHttp2(port.origin);
    const running = fetchHttp2(session);
    await slow.begun;
    const told = once(session, "goaway");
    const drained = port.drain(generous);
    await told;
    const late = session.request({ ":path": "/" });
    const [error] = (await once(late, "error")) as [NodeJS.ErrnoException];
    expect(error.code).toBe("ERR_HTTP2_GOAWAY_SESSION");
    slow.finish();
    expect(await running).toBe("first half, second half");
    expect(await drained).toBe(true);
  });

  test.each([
    ["in clear text", undefined],
    ["over TLS", testTls],
  ])("cuts what does not finish in time, and says so (%s)", async (_, tls) => {
    const slow = slowHandler({ requests: 2 });
    await using port = await startPort({ handler: slow.handler, tls });
    using agent = disposableAgent(tls === undefined ? http : https);
    const http1 = expect(fetchHttp1(port.origin, agent)).rejects.toThrow();
    using session = connectHttp2(port.origin);
    const stream = session.request({ ":path": "/" }).resume();
    const closed = once(stream, "close");
    await slow.begun;
    expect(await port.drain(20)).toBe(false);
    // With which code is not said: Node's client takes one of its own, by how it learns that its connection is gone.
    await Promise.all([http1, closed]);
  });
});

describe("streams of gRPC clients get all of their 20 messages from a port that drains", () => {
  /** Sends one message, and the others when told. */
  async function startWatch() {
    const begun = gate();
    const rest = gate();
    const handler = connectNodeAdapter({
      routes: (router) =>
        router.service(Health, {
          async *watch() {
            yield { status: 0 };
            begun.open();
            await rest.opened;
            for (let status = 1; status < 20; status++) yield { status };
          },
        }),
    });
    const port = await startPort({ handler });
    return { port, begun: begun.opened, finish: rest.open };
  }

  async function statusesOf(messages: AsyncIterable<{ status: number }>): Promise<number[]> {
    const statuses: number[] = [];
    for await (const { status } of messages) statuses.push(status);
    return statuses;
  }

  const allStatuses = Array.from({ length: 20 }, (_, status) => status);

  test("connect-node", async () => {
    const watch = await startWatch();
    await using port = watch.port;
    const client = createClient(Health, createGrpcTransport({ baseUrl: port.origin }));
    const received = statusesOf(client.watch({}));
    await watch.begun;
    const drained = port.drain(generous);
    watch.finish();
    expect(await received).toEqual(allStatuses);
    expect(await drained).toBe(true);
  });

  test("grpc-js", async () => {
    const watch = await startWatch();
    await using port = watch.port;
    const client = new Client(`127.0.0.1:${port.number}`, credentials.createInsecure());
    const stream = client.makeServerStreamRequest(
      "/grpc.health.v1.Health/Watch",
      (request: typeof emptyRequest) => Buffer.from(toBinary(HealthCheckRequestSchema, request)),
      (bytes) => fromBinary(HealthCheckResponseSchema, bytes),
      emptyRequest,
    );
    const received = statusesOf(stream);
    await watch.begun;
    const drained = port.drain(generous);
    watch.finish();
    expect(await received).toEqual(allStatuses);
    expect(await drained).toBe(true);
    client.close();
  });
});
