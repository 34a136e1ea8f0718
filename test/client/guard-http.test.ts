import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type RequestListener, request } from "node:http";
import { connect as connectHttp2, createServer as createHttp2Server } from "node:http2";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  createGuard,
  type Guard,
  type GuardedRequest,
  type NodeRequest,
  principalOf,
} from "#src/client/guard/guard.ts";
import { preface, settings } from "../net/http2-frames.ts";
import { failureModes, newUser, servicePrincipal } from "./failure-modes.ts";
import { type Sibling, startSibling } from "./sibling.ts";

let sibling: Sibling;
beforeAll(async () => {
  sibling = await startSibling();
});
afterAll(() => sibling[Symbol.asyncDispose]());

describe("a guarded handler", () => {
  test.each(failureModes)(
    "answers $name with $status and $error, as Patchbay says, and is not called",
    async ({ status, error, headers, prepare }) => {
      const { authorization, requirement = {}, options } = await prepare(sibling);
      const guard = await sibling.newGuard(options);
      const called: NodeRequest[] = [];
      const host = await sibling.serve(createServer(guard.handler(requirement, (one) => called.push(one))));
      const reply = await get(host, authorization);
      expect([reply.status, reply.body]).toEqual([status, JSON.stringify({ error })]);
      expect(reply.headers).toMatchObject({ "content-type": "application/json", ...headers });
      expect(called).toEqual([]);
    },
  );

  test("is called with who makes the request, while the body is still to be read", async () => {
    const actAsUserId = await newUser(sibling);
    const { id, secret } = await sibling.newKey({ actAsUserId, rateLimitPerMinute: 600 });
    const guard = await sibling.newGuard();
    const requirement = { scopes: ["rules:view"], distinctFromUserIds: () => ["usr_other"] };
    const host = await sibling.serve(
      createServer(
        guard.handler(requirement, async (request, response, principal) => {
          expect(principalOf(request)).toBe(principal);
          const body = await request.setEncoding("utf8").reduce((text, chunk) => text + chunk, "");
          response.setHeader("x-mine", "1").end(JSON.stringify({ body, ...principal }));
        }),
      ),
    );
    const reply = await send(host, { method: "POST", authorization: [`bearer  ${secret}`], body: "hello" });
    expect(reply).toMatchObject({
      status: 200,
      headers: {
        "x-mine": "1",
        ratelimit: expect.stringMatching(/^"default";r=599;t=1$/),
        "ratelimit-policy": `"default";q=600;w=60`,
      },
    });
    expect(JSON.parse(reply.body)).toMatchObject({
      body: "hello",
      organizationId: sibling.service.org.orgId,
      apiKeyId: id,
      name: "caller",
      effectiveUserId: actAsUserId,
      scopes: ["rules:view"],
    });
  });

  test("refuses a stranger byte for byte as Patchbay itself does", async () => {
    const own = await get(new URL(sibling.service.url).host, [], "/api/service-connections");
    const host = await sibling.serve(createServer((await sibling.newGuard()).handler({}, neverCalled)));
    const relayed = await get(host, []);
    expect([relayed.status, relayed.body]).toEqual([own.status, own.body]);
    for (const name of ["content-type", "www-authenticate", "x-error-reason"]) {
      expect(relayed.headers[name]).toBe(own.headers[name]);
    }
  });

  test("takes two Authorization headers for none, though each alone would do", async () => {
    const { secret } = await sibling.newKey();
    const guard = await sibling.newGuard();
    const host = await sibling.serve(createServer(guard.handler({}, neverCalled)));
    const reply = await get(host, [`Bearer ${secret}`, `Bearer ${secret}`]);
    expect([reply.status, reply.body]).toEqual([401, `{"error":"missing or invalid Bearer"}`]);

    const http2 = await sibling.serve(createHttp2Server(guard.handler({}, neverCalled)));
    expect(await twiceOverHttp2(http2, `Bearer ${secret}`)).toContain(
      `{"error":"missing or invalid Bearer"}`,
    );
  });

  test("serves node:http2 as well", async () => {
    const { secret } = await sibling.newKey();
    const guard = await sibling.newGuard();
    const host = await sibling.serve(
      createHttp2Server(
        guard.handler({ scopes: ["rules:view"] }, (request, response, { name }) => {
          response.end(`${name} ${request.httpVersion}`);
        }),
      ),
    );
    const session = connectHttp2(`http://${host}`);
    for (const [authorization, expected] of [
      [`Bearer ${secret}`, "caller 2.0"],
      ["Bearer another", `{"error":"missing or invalid Bearer"}`],
    ] as const) {
      const stream = session.request({ ":path": "/", authorization }).setEncoding("utf8");
      expect(await stream.reduce((text, chunk) => text + chunk, "")).toBe(expected);
    }
    session.close();
  });

  test("lets a service principal in when the service that it belongs to presents it, and nobody else", async () => {
    const authorization = [await servicePrincipal(sibling)];
    const named = (request: { header(name: string): string | undefined }) =>
      request.header("X-Caller-Service");
    const guard = await sibling.newGuard({ callerServiceSlug: named });
    const host = await sibling.serve(
      createServer(
        guard.handler({}, (_, response, { callerServiceSlug }) => response.end(callerServiceSlug)),
      ),
    );
    const asking = (slug: string) => send(host, { authorization, headers: ["x-caller-service", slug] });
    expect(await asking("orchestration")).toMatchObject({ status: 200, body: "orchestration" });
    expect(await asking("identity")).toMatchObject({ status: 401 });
    expect(await get(host, authorization)).toMatchObject({ status: 401 });
  });

  test("lets in who comes from an address on the key's list, if it is told where that stands", async () => {
    const { secret } = await sibling.newKey({ allowedCidrs: ["127.0.0.0/8", "192.0.2.1"] });
    for (const sourceIp of [
      (request: GuardedRequest) => request.remoteAddress,
      (request: GuardedRequest) => request.header("x-real-ip"),
    ]) {
      const guard = await sibling.newGuard({ sourceIp });
      const host = await sibling.serve(createServer(guard.handler({}, (_, response) => response.end())));
      const headers = ["x-real-ip", "192.0.2.1"];
      expect(await send(host, { authorization: [`Bearer ${secret}`], headers })).toMatchObject({
        status: 200,
      });
    }
  });

  test("takes a header that is longer than any key for none", async () => {
    const guard = await sibling.newGuard();
    const roomy = { maxHeaderSize: 65_536 };
    const host = await sibling.serve(createServer(roomy, guard.handler({}, neverCalled)));
    expect(await get(host, [`Bearer ${"x".repeat(40_000)}`])).toMatchObject({ status: 401 });
  });

  test.each([
    [
      "throws",
      () => {
        throw new Error("no database");
      },
    ],
    ["fails later", () => Promise.reject(new Error("no database"))],
  ])("refuses when a function of its requirement %s, and says so to the operator", async (_, fail) => {
    const { secret } = await sibling.newKey();
    const problems: Error[] = [];
    const guard = await sibling.newGuard({ onError: (error) => problems.push(error) });
    const host = await sibling.serve(createServer(guard.handler({ distinctFromUserIds: fail }, neverCalled)));
    expect(await get(host, [`Bearer ${secret}`])).toMatchObject(unavailable);
    expect(problems.map(({ message }) => message)).toEqual([
      "patchbay guard: a requirement or an option of the guard failed: no database",
    ]);
  });
});

describe("a requirement that asks for less than it seems to", () => {
  const misspelt: [string, object][] = [
    ["another name", { scope: ["rules:view"] }],
    ["a text for a list", { scopes: "rules:view" }],
    ["an empty scope", { scopes: [""] }],
    ["a missing setting", { scopes: undefined }],
    ["a text for yes", { fourEyes: "no" }],
    ["users who are not asked for", { distinctFromUserIds: ["usr_1"] }],
  ];

  test.each(misspelt)("is refused before any request comes: %s", async (_, requirement) => {
    const guard = await sibling.newGuard();
    expect(() => guard.handler(requirement, neverCalled)).toThrow(/^requirement: /);
    expect(() => guard.middleware(requirement)).toThrow(/^requirement: /);
  });

  test.each<[string, object]>([
    ...misspelt,
    ["users that nobody returns", { distinctFromUserIds: () => undefined }],
    ["one user for a list", { distinctFromUserIds: () => "usr_1" }],
    ["a user that is not there", { distinctFromUserIds: () => [undefined] }],
  ])("lets nobody in: %s", async (_, requirement) => {
    const { secret } = await sibling.newKey({ actAsUserId: await newUser(sibling) });
    const guard = await sibling.newGuard({ onError: () => undefined });
    const seen = { authorization: [`Bearer ${secret}`], header: () => undefined, remoteAddress: undefined };
    expect(await guard.decide(seen, requirement, {})).toMatchObject({ status: 503 });
  });
});

test("a question that leaves the environment open is asked for the guard's", async () => {
  const { secret } = await sibling.newKey();
  const guard = await sibling.newGuard({ environment: "live" });
  for (const open of [{}, { environment: undefined as never }, { environment: "sandbox" }]) {
    const { principal } = await guard.verify({ key: secret, ...open });
    expect(principal?.name).toBe("environment" in open && open.environment ? "caller" : undefined);
  }
});

describe("a guard as middleware", () => {
  test("hands on requests that are let in, with their principal, and answers the others", async () => {
    const { id, secret } = await sibling.newKey();
    const guard = await sibling.newGuard();
    const host = await sibling.serve(
      createServer(
        chain(guard.middleware({}), guard.middleware({ scopes: ["rules:view"] }), (request, response) => {
          response.end(principalOf(request).apiKeyId);
        }),
      ),
    );
    expect(await get(host, [`Bearer ${secret}`])).toMatchObject({ status: 200, body: id });
    expect(await get(host, ["Bearer made-up"])).toMatchObject({ status: 401 });
    const { secret: lesser } = await sibling.newKey({ scopes: ["cases:view"] });
    expect(await get(host, [`Bearer ${lesser}`])).toMatchObject({ status: 403 });
  });

  test.each([
    ["admitted", {}],
    ["refused", { scopes: ["cases:view"] }],
  ])("leaves a request alone that was answered before it is %s, as by a timeout", async (_, requirement) => {
    const { secret } = await sibling.newKey({ actAsUserId: await newUser(sibling) });
    const guard = await sibling.newGuard();
    const host = await sibling.serve(
      createServer((request, response) => {
        const distinctFromUserIds = () => {
          response.writeHead(504).end("too late");
          return [];
        };
        guard.middleware({ ...requirement, distinctFromUserIds })(request, response, neverCalled);
      }),
    );
    expect(await get(host, [`Bearer ${secret}`])).toMatchObject({ status: 504, body: "too late" });
    // It comes after what became of the one before.
    expect((await guard.verify({ key: secret })).principal).toBeDefined();
  });

  test("a request that no guard let in has no principal", async () => {
    const host = await sibling.serve(
      createServer((request, response) => {
        expect(() => principalOf(request)).toThrow("no guard admitted this request");
        response.end("none");
      }),
    );
    expect(await get(host, ["Bearer made-up"])).toMatchObject({ body: "none" });
  });
});

describe("the budget of a key", () => {
  test("is not exceeded through what a guard remembers, however its requests are spread", async () => {
    const { secret } = await sibling.newKey({ rateLimitPerMinute: 25, scopes: ["rules:view", "cases:view"] });
    const guard = await sibling.newGuard();
    const ok: RequestListener = (_, response) => void response.end("ok");
    const hosts = await Promise.all(
      [{}, { scopes: ["rules:view"] }, { scopes: ["cases:view"] }].map((requirement) =>
        sibling.serve(createServer(guard.handler(requirement, ok))),
      ),
    );
    await hearing(guard, sibling);
    const statuses = await Promise.all(
      Array.from({ length: 90 }, async (_, i) => (await get(hosts[i % 3]!, [`Bearer ${secret}`])).status),
    );
    expect(statuses.filter((status) => status === 200)).toHaveLength(25);
    expect(statuses.filter((status) => status === 429)).toHaveLength(65);

    // And all that was let in is on Patchbay's books.
    sibling.service.clock.advance(59_000);
    const { budget } = await sibling.service.org.client.verification.verifyKey({ key: secret });
    expect(budget).toMatchObject({ limit: 25, remaining: 23 });
  });
});

describe("the guard's own key", () => {
  const refused =
    "patchbay guard: Patchbay refuses the guard's own key; give it one that holds keys:verify: ";

  test("without keys:verify makes every request 503, and the operator is told once why", async () => {
    const { secret } = await sibling.newKey();
    const problems: string[] = [];
    const guard = await sibling.newGuard({
      apiKey: secret,
      onError: ({ message }) => problems.push(message),
    });
    const host = await sibling.serve(createServer(guard.handler({}, neverCalled)));
    for (const authorization of [[`Bearer ${secret}`], [`Bearer ${secret}`], []]) {
      expect(await get(host, authorization)).toMatchObject(unavailable);
    }
    expect(problems).toEqual([`${refused}[permission_denied] missing scope: keys:verify`]);
  });

  test("revoked makes requests 503 whose answer is remembered", async () => {
    const { secret } = await sibling.newKey();
    const own = await sibling.newKey({ scopes: ["keys:verify"] });
    const problems: string[] = [];
    const guard = await sibling.newGuard({
      apiKey: own.secret,
      onError: ({ message }) => problems.push(message),
    });
    const host = await sibling.serve(createServer(guard.handler({}, (_, response) => response.end())));
    await hearing(guard, sibling);
    expect(await get(host, [`Bearer ${secret}`])).toMatchObject({ status: 200 });
    await sibling.service.org.client.apiKeys.revokeApiKey({ id: own.id });
    await expect
      .poll(() => get(host, [`Bearer ${secret}`]), { timeout: 50_000, interval: 5 })
      .toMatchObject(unavailable);
    expect(problems).toEqual([`${refused}[unauthenticated] missing or invalid Bearer`]);
  });

  test.each(["", " ", "two words"])("is refused at once if it cannot be one: %j", (apiKey) => {
    expect(() => createGuard({ baseUrl: "http://127.0.0.1:1", apiKey })).toThrow("apiKey is empty");
  });
});

const unavailable = {
  status: 503,
  headers: { "content-type": "application/json", "retry-after": "1" },
  body: `{"error":"keys cannot be verified right now; try again"}`,
};

function neverCalled(): void {
  expect.unreachable("a refused request reached the handler");
}

/** Until the guard hears of changes, so that it uses what it remembers. */
async function hearing(guard: Guard, { service, newKey }: Sibling): Promise<void> {
  const { secret } = await newKey();
  const logged = () => service.logged().match(/VerifyKey/g)?.length ?? 0;
  await expect
    .poll(
      async () => {
        const before = logged();
        await guard.verify({ key: secret });
        return logged() - before;
      },
      { interval: 5 },
    )
    .toBe(0);
}

/** What Express does with middleware. */
function chain(
  ...steps: ((...args: [...Parameters<RequestListener>, next: () => void]) => void)[]
): RequestListener {
  return (request, response) => {
    const run = (index: number) => steps[index]?.(request, response, () => run(index + 1));
    run(0);
  };
}

interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

function get(host: string, authorization: readonly string[], path = "/"): Promise<Reply> {
  return send(host, { authorization, path });
}

async function send(
  host: string,
  options: {
    method?: string;
    path?: string;
    authorization: readonly string[];
    headers?: readonly string[];
    body?: string;
  },
): Promise<Reply> {
  const { method = "GET", path = "/", authorization, headers = [], body } = options;
  const sent = request(`http://${host}${path}`, {
    method,
    agent: false,
    headers: ["host", host, ...authorization.flatMap((value) => ["authorization", value]), ...headers],
  }).end(body);
  const [response] = await once(sent, "response");
  const text = await response.setEncoding("utf8").reduce((all: string, chunk: string) => all + chunk, "");
  return { status: response.statusCode, headers: response.headers, body: text };
}

/** What a server answers over HTTP/2 to a request with the header twice, which Node's own client does not send. */
async function twiceOverHttp2(host: string, authorization: string): Promise<string> {
  const literal = (name: string, value: string) =>
    Buffer.concat([
      Buffer.of(0, name.length),
      Buffer.from(name),
      Buffer.of(value.length),
      Buffer.from(value),
    ]);
  const twice = [literal("authorization", authorization), literal("authorization", authorization)];
  // HPACK: GET, http and / are in its static table.
  const block = Buffer.concat([Buffer.of(0x82, 0x86, 0x84), literal(":authority", host), ...twice]);
  const head = Buffer.of(0, 0, 0, 1, 5, 0, 0, 0, 1);
  head.writeUIntBE(block.length, 0, 3);
  const [name, port] = host.split(":");
  const socket = connect(Number(port), name).setEncoding("latin1");
  socket.write(Buffer.concat([preface, settings(), head, block]));
  let answer = "";
  for await (const chunk of socket) {
    answer += chunk;
    if (answer.includes("}")) break;
  }
  return answer;
}
