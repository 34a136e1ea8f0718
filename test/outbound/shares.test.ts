import { Socket, type LookupFunction } from "node:net";
import { describe, expect, test } from "vitest";
import { fakeLookup, localClient, response, startUpstream, type Answer } from "./network.ts";

const silent: Answer = () => {};

/** Answers calls to every path but /hang, which wait until they are let go. */
async function startHanging() {
  const hanging: Socket[] = [];
  let arrived = (): void => {};
  const upstream = await startUpstream((socket, request) => {
    if (!request.startsWith("GET /hang")) return void socket.write(response("ok"));
    hanging.push(socket);
    arrived();
  });
  return {
    origin: upstream.origin,
    upstream,
    /** Resolves when this many hang. */
    async hold(count: number) {
      while (hanging.length < count) await new Promise<void>((resolve) => (arrived = resolve));
    },
    letGo: () => {
      for (const socket of hanging.splice(0)) socket.write(response("late"));
    },
    [Symbol.asyncDispose]: () => upstream[Symbol.asyncDispose](),
  };
}

describe("a call", () => {
  test("waits for a place when all to its origin are taken, and is given up in time", async () => {
    const taken = Promise.withResolvers<void>();
    await using upstream = await startUpstream(() => taken.resolve());
    await using client = localClient({ limits: { callsPerOrigin: 1 } });
    const first = client.get(upstream.origin).catch(() => {});
    await taken.promise;
    await expect(client.get(upstream.origin, { timeoutMs: 30 })).rejects.toMatchObject({
      reason: "UPSTREAM_TIMEOUT",
      metadata: { stage: "QUEUE" },
      message: expect.stringMatching(
        /^QUEUE: 127\.0\.0\.1 was not called in 0\.03 s, because earlier calls /,
      ),
    });
    expect(upstream.received.match(/GET/g)).toHaveLength(1);
    await client.close();
    await first;
  });

  test("of one origin does not wait for another that is stuck", async () => {
    await using stuck = await startUpstream(silent);
    await using quick = await startUpstream(response("ok"));
    await using client = localClient({ limits: { callsPerOrigin: 1 } });
    const waiting = client.get(stuck.origin, { timeoutMs: 200 }).catch(() => {});
    expect(await client.get(quick.origin)).toMatchObject({ status: 200 });
    await waiting;
  });

  test("that waits for others ends when the client is closed", async () => {
    await using service = await startHanging();
    await using client = localClient({ limits: { callsPerOrigin: 1 } });
    const calls = [1, 2, 3].map(() => client.get(service.origin, { path: "/hang" }));
    const outcomes = Promise.allSettled(calls);
    await service.hold(1);
    await client.close();
    for (const outcome of await outcomes) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { reason: "UPSTREAM_UNREACHABLE" } });
    }
    expect(service.upstream.received.match(/GET/g)).toHaveLength(1);
  });
});

describe("what one share does", () => {
  test("does not delay another's calls to the same origin, however many hang", async () => {
    await using service = await startHanging();
    await using client = localClient();
    let ended = 0;
    const hanging = Array.from({ length: 100 }, () =>
      client.get(service.origin, { path: "/hang" }).finally(() => ended++),
    );
    await service.hold(64);
    expect(await client.get(service.origin, { share: "globex" })).toMatchObject({ status: 200 });
    expect(ended).toBe(0);
    expect(service.upstream.connections).toBe(65);
    service.letGo();
    // The 36 that waited come when the first are answered.
    await service.hold(36);
    service.letGo();
    await Promise.all(hanging);
  });

  test("stays on sockets of its own", async () => {
    const users = new Map<Socket, Set<string | undefined>>();
    await using upstream = await startUpstream((socket, request) => {
      users.set(socket, (users.get(socket) ?? new Set()).add(request.split(" ")[1]));
      socket.write(response("ok"));
    });
    await using client = localClient();
    for (let i = 0; i < 30; i++) {
      const share = i % 3 === 0 ? "acme" : "globex";
      await client.get(upstream.origin, { share, path: `/${share}` });
    }
    expect(users.size).toBeLessThan(10);
    for (const one of users.values()) expect(one.size).toBe(1);
  });

  test("is limited over all origins together", async () => {
    await using one = await startHanging();
    await using other = await startHanging();
    await using client = localClient({ limits: { callsPerShare: 2 } });
    const hanging = [one, other].map(({ origin }) => client.get(origin, { path: "/hang" }));
    await Promise.all([one.hold(1), other.hold(1)]);
    await expect(client.get(one.origin, { timeoutMs: 30 })).rejects.toMatchObject({
      metadata: { stage: "QUEUE" },
    });
    expect(await client.get(one.origin, { share: "globex" })).toMatchObject({ status: 200 });
    for (const service of [one, other]) service.letGo();
    await Promise.all(hanging);
    expect(await client.get(one.origin)).toMatchObject({ status: 200 });
  });

  test.each([
    ["calls", { waitingCalls: 1 }],
    ["bytes", { waitingBytes: 10 }],
  ])("waits up to a number of %s, and is refused beyond it", async (_, limits) => {
    await using service = await startHanging();
    await using client = localClient({ limits: { callsPerOrigin: 1, ...limits } });
    const body = Buffer.from("8 bytes.");
    const hanging = client.get(service.origin, { path: "/hang", body });
    await service.hold(1);
    const waiting = client.get(service.origin, { body });
    await expect(client.get(service.origin, { body })).rejects.toMatchObject({
      reason: "TOO_MANY_CALLS",
      kind: "resource_exhausted",
      headers: { "retry-after": "1" },
    });
    expect(await client.get(service.origin, { share: "globex", body })).toMatchObject({ status: 200 });
    service.letGo();
    await Promise.all([hanging, waiting]);
    expect(await client.get(service.origin, { body })).toMatchObject({ status: 200 });
  });

  test("gives its place in the queue back when its caller goes away", async () => {
    await using service = await startHanging();
    await using client = localClient({ limits: { callsPerOrigin: 1, waitingCalls: 1 } });
    const hanging = client.get(service.origin, { path: "/hang" });
    await service.hold(1);
    for (let i = 0; i < 3; i++) {
      const caller = new AbortController();
      const waiting = client.get(service.origin, { signal: caller.signal });
      caller.abort(new Error("gone"));
      await expect(waiting).rejects.toThrow("gone");
    }
    service.letGo();
    await hanging;
    expect(service.upstream.received.match(/GET/g)).toHaveLength(1);
  });

  test("keeps its place among those under way until its request no longer waits for a socket", async () => {
    const sockets: Socket[] = [];
    const connect = (): Socket => {
      const socket = new Socket();
      sockets.push(socket);
      return socket;
    };
    const limits = { callsPerOrigin: 1, waitingCalls: 0, connectMs: 60_000 };
    await using client = localClient({ limits, connect });
    const reasonOfNext = () =>
      client.get("http://127.0.0.1", { timeoutMs: 30 }).catch(({ reason }: { reason: string }) => reason);
    expect(await reasonOfNext()).toBe("UPSTREAM_TIMEOUT");
    expect(await reasonOfNext()).toBe("TOO_MANY_CALLS");
    sockets[0]?.destroy(new Error("not connected"));
    await expect.poll(reasonOfNext).toBe("UPSTREAM_TIMEOUT");
  });
});

describe("look-ups", () => {
  /** Looks up with two threads, as the system does; a name that begins with "hang" holds one until it is let go. */
  function fewThreads() {
    const asked: string[] = [];
    const queue: (() => void)[] = [];
    const hanging: (() => void)[] = [];
    let free = 2;
    const next = (): void => {
      if (free === 0 || queue.length === 0) return;
      free--;
      queue.shift()?.();
    };
    const lookup: LookupFunction = (host, _options, callback) => {
      queue.push(() => {
        asked.push(host);
        const end = (): void => {
          callback(null, [{ address: "127.0.0.1", family: 4 }]);
          free++;
          next();
        };
        if (host.startsWith("hang")) hanging.push(end);
        else setImmediate(end);
      });
      next();
    };
    const letGo = (): void => {
      for (const end of hanging.splice(0)) end();
    };
    return { asked, lookup, letGo };
  }

  test("of names whose server does not answer cut off only the share that asks", async () => {
    await using upstream = await startUpstream(response("ok"));
    const { asked, lookup, letGo } = fewThreads();
    await using client = localClient({ lookup, limits: { connectMs: 3_000 } });
    const urlOf = (host: string) => `http://${host}.example:${upstream.port}`;
    const hanging = [{}, { lane: "probes" }].flatMap((lane) =>
      [1, 2, 3].map((n) => client.get(urlOf(`hang${n}`), lane).catch((error: unknown) => error)),
    );
    expect(await client.get(urlOf("quick"), { share: "globex" })).toMatchObject({ status: 200 });
    const [first, ...others] = await Promise.all(hanging);
    expect(first).toMatchObject({ reason: "UPSTREAM_TIMEOUT", metadata: { stage: "DNS" } });
    for (const error of others) {
      expect(error).toMatchObject({
        reason: "UPSTREAM_TIMEOUT",
        metadata: { stage: "QUEUE" },
        message: expect.stringContaining("not looked up in time, because an earlier look-up"),
      });
    }
    // Nobody waits for the other names any more, so that their turn does not come.
    letGo();
    expect(await client.get(urlOf("quick"))).toMatchObject({ status: 200 });
    expect(asked).toEqual(["hang1.example", "quick.example", "quick.example"]);
  });

  test("say what they waited for when the time of the whole call is up, too", async () => {
    const { lookup } = fewThreads();
    await using client = localClient({ lookup });
    const stuck = client.get("http://hang1.example").catch(() => {});
    const call = client.get("http://quick.example", { timeoutMs: 300 });
    await expect(call).rejects.toThrow(
      /^QUEUE: quick\.example was not looked up in time, because an earlier/,
    );
    await client.close();
    await stuck;
  });

  test("of one name at one time are one", async () => {
    await using upstream = await startUpstream(response("ok"));
    const { asked, lookup } = fakeLookup({ "ok.example": ["127.0.0.1"] });
    await using client = localClient({ lookup });
    const calls = Array.from({ length: 20 }, () => client.get(`http://ok.example:${upstream.port}`));
    for (const reply of await Promise.all(calls)) expect(reply.status).toBe(200);
    expect(asked).toEqual(["ok.example"]);
  });
});

test("idle sockets are closed when there are too many in all, those of the longest unused origin first", async () => {
  const upstreams = await Promise.all(["one", "two", "three"].map((text) => startUpstream(response(text))));
  await using client = localClient({ limits: { sockets: 2 } });
  for (const { origin } of upstreams) await client.get(origin);
  await upstreams[0]!.abandoned();
  for (const { origin } of upstreams.slice(1)) await client.get(origin);
  expect(upstreams.map(({ connections }) => connections)).toEqual([1, 1, 1]);
  expect(await client.get(upstreams[0]!.origin)).toMatchObject({ body: Buffer.from("one") });
  for (const upstream of upstreams) await upstream[Symbol.asyncDispose]();
});
