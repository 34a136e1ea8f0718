import { once } from "node:events";
import { createServer, IncomingMessage, request } from "node:http";
import { connect as connectHttp2, createServer as createHttp2Server } from "node:http2";
import { Socket } from "node:net";
import type { DescMethod } from "@bufbuild/protobuf";
import {
  type Client,
  Code,
  ConnectError,
  type ConnectRouter,
  createClient,
  createContextValues,
  type HandlerContext,
  type ServiceImpl,
  type Transport,
} from "@connectrpc/connect";
import { createAsyncIterable } from "@connectrpc/connect/protocol";
import {
  connectNodeAdapter,
  type ConnectNodeAdapterOptions,
  createConnectTransport,
  createGrpcTransport,
} from "@connectrpc/connect-node";
import {
  Metadata,
  type sendUnaryData,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Health, type HealthCheckRequest } from "#gen/grpc/health/v1/health_pb.js";
import { ServerReflection } from "#gen/grpc/reflection/v1/reflection_pb.js";
import {
  type Guard,
  type MethodRequirement,
  type MethodRequirements,
  principalKey,
} from "#src/client/guard/guard.ts";
import { reasonOf } from "#src/client/connect.ts";
import { grpcServiceDefinition } from "#src/client/grpc-js.ts";
import { guardInterceptor, principalOf } from "#src/client/guard/grpc-js.ts";
import { failureModes, newUser } from "./failure-modes.ts";
import { type Sibling, startSibling } from "./sibling.ts";

let sibling: Sibling;
beforeAll(async () => {
  sibling = await startSibling();
});
afterAll(() => sibling[Symbol.asyncDispose]());

/** A server whose methods say who calls them, and a client of it. */
interface Served {
  readonly host: string;
  readonly client: Client<typeof Health>;
}

const servers: {
  server: string;
  serve(guard: Guard, requirements: Readonly<Record<string, MethodRequirement>>): Promise<Served>;
}[] = [
  { server: "a Connect server, over gRPC", serve: (...guarded) => serveConnect("grpc", ...guarded) },
  { server: "a Connect server, over Connect", serve: (...guarded) => serveConnect("connect", ...guarded) },
  { server: "a @grpc/grpc-js server", serve: serveGrpcJs },
];

const check = "grpc.health.v1.Health/Check";
const watch = "grpc.health.v1.Health/Watch";
const list = "grpc.health.v1.Health/List";

describe.each(servers)("$server", ({ serve }) => {
  test.each(failureModes)(
    "answers $name with code $code and $error, to unary calls and to streams",
    async ({ code, error, headers, prepare }) => {
      const { authorization, requirement = {}, options } = await prepare(sibling);
      const guard = await sibling.newGuard(options);
      const { distinctFromUserIds, ...streamable } = requirement;
      const fourEyes = streamable.fourEyes === true || distinctFromUserIds !== undefined;
      const { client } = await serve(guard, {
        [check]: requirement,
        [watch]: { ...streamable, fourEyes },
        [list]: "public",
      });
      const expected = { code, rawMessage: error };
      for (const call of error === "four-eyes violation" ? [checked] : [checked, watched]) {
        const failure = await failureOf(call(client, authorization));
        expect(failure).toMatchObject(expected);
        expect(reasonOf(failure)).toBe(headers["x-error-reason"]);
        expect(Object.fromEntries(failure.metadata)).toMatchObject(headers);
      }
    },
  );

  test("hands the principal to unary calls and to streams, and says what is left of the budget", async () => {
    const { id, secret } = await sibling.newKey({ rateLimitPerMinute: 600 });
    const guard = await sibling.newGuard();
    const requirement = { scopes: ["rules:view"] };
    const { client } = await serve(guard, { [check]: requirement, [watch]: requirement, [list]: "public" });
    for (const call of [checked, watched]) {
      const headers = await call(client, [`Bearer ${secret}`]);
      expect(headers.get("x-api-key-id")).toBe(id);
      expect(headers.get("ratelimit")).toMatch(/^"default";r=59\d;t=1$/);
    }
  });

  test("looks at the message for who has acted already", async () => {
    const actAsUserId = await newUser(sibling);
    const { id, secret } = await sibling.newKey({ actAsUserId });
    const distinctFromUserIds = async ({ service }: HealthCheckRequest) => [service];
    const requirements = { [check]: { distinctFromUserIds }, [watch]: {}, [list]: "public" } as const;
    const { client } = await serve(await sibling.newGuard(), requirements);
    expect((await checked(client, [`Bearer ${secret}`], "usr_other")).get("x-api-key-id")).toBe(id);
    expect(await failureOf(checked(client, [`Bearer ${secret}`], actAsUserId))).toMatchObject({
      code: Code.PermissionDenied,
      rawMessage: "four-eyes violation",
    });
  });

  test("knows the address of the client", async () => {
    const { id, secret } = await sibling.newKey({ allowedCidrs: ["127.0.0.1"] });
    const guard = await sibling.newGuard({ sourceIp: ({ remoteAddress }) => remoteAddress });
    const { client } = await serve(guard, { [check]: {}, [watch]: {}, [list]: "public" });
    expect((await checked(client, [`Bearer ${secret}`])).get("x-api-key-id")).toBe(id);
  });

  test("lets everybody call what is public, without a principal whatever the client sends", async () => {
    const { client } = await serve(await sibling.newGuard(), { [check]: {}, [watch]: {}, [list]: "public" });
    const smuggled = { "x-principal": "admin", principal: "admin", "patchbay-principal-bin": "AAAA" };
    let headers = new Headers();
    await client.list({}, { headers: smuggled, onHeader: (received) => (headers = received) });
    expect(headers.get("x-api-key-id")).toBe("nobody");
  });

  test("refuses strangers before they have sent a message", async () => {
    const { host } = await serve(await sibling.newGuard(), { [check]: {}, [watch]: {}, [list]: "public" });
    // The Connect server here speaks HTTP/1.1, for which a message is promised that never comes.
    const isHttp1 = serve === servers[1]!.serve;
    for (const path of [`/${check}`, `/${watch}`]) {
      expect(await (isHttp1 ? promiseMessage : openStream)(host, path)).toMatchObject(
        isHttp1 && path === `/${check}` ? { status: 401 } : { status: 200 },
      );
    }
  });

  test("answers 503's code while Patchbay cannot be asked", async () => {
    const guard = await sibling.newGuard({ baseUrl: "http://127.0.0.1:1", onError: () => undefined });
    const { client } = await serve(guard, { [check]: {}, [watch]: {}, [list]: "public" });
    for (const call of [checked, watched]) {
      expect(await failureOf(call(client, ["Bearer made-up"]))).toMatchObject({
        code: Code.Unavailable,
        rawMessage: "keys cannot be verified right now; try again",
      });
    }
  });
});

describe("a Connect server", () => {
  const routes = (router: ConnectRouter) => void router.service(Health, sayWhoCalls);

  test("does not start while a method has no requirement", async () => {
    const guard = await sibling.newGuard();
    const start = (requirements: MethodRequirements<DescMethod>) =>
      connectNodeAdapter(guard.connect(requirements, { routes }));
    expect(() => start({ [check]: {}, [list]: "public" })).toThrow(
      `${watch} has no requirement; give it {} to admit every valid key, or "public" to admit every caller`,
    );
    const none = () => start(({ name }) => (name === "Check" ? {} : undefined));
    expect(none).toThrow(`${list} has no requirement`);
    expect(none).toThrow(`${watch} has no requirement`);
    const one = (router: ConnectRouter) => void router.rpc(Health.method.check, () => ({}));
    expect(() => connectNodeAdapter(guard.connect({}, { routes: one }))).toThrow(
      `${check} has no requirement`,
    );
  });

  test("does not start while a stream would have to be judged by its one message", async () => {
    const guard = await sibling.newGuard();
    const requirements = { [check]: {}, [list]: {}, [watch]: { distinctFromUserIds: () => [] } };
    expect(() => connectNodeAdapter(guard.connect(requirements, { routes }))).toThrow(
      `${watch} is not unary`,
    );
  });

  test("does not start with a requirement that asks for less than it seems to", async () => {
    const guard = await sibling.newGuard();
    const requirements: object = { [check]: { scope: ["rules:view"] }, [list]: {}, [watch]: {} };
    expect(() =>
      connectNodeAdapter(guard.connect(requirements as MethodRequirements<DescMethod>, { routes })),
    ).toThrow(`${check}: unknown field scope`);
  });

  test("takes its requirements from the descriptors too", async () => {
    const { secret } = await sibling.newKey();
    const guard = await sibling.newGuard();
    const { client } = await serveConnect("grpc", guard, ({ name }) => ({
      scopes: [`${name.toLowerCase()}s:view`],
    }));
    expect(await failureOf(checked(client, [`Bearer ${secret}`]))).toMatchObject({
      rawMessage: "missing scope: checks:view",
    });
  });

  test("keeps its guard when a service brings options of its own, and lets those run after it", async () => {
    const { secret } = await sibling.newKey();
    const guard = await sibling.newGuard();
    const ran: string[] = [];
    const note = (context: { values: HandlerContext["values"] }, what: string) =>
      ran.push(`${what} for ${context.values.get(principalKey)?.name}`);
    const own: Partial<ConnectNodeAdapterOptions> = {
      requestGate: (context) => void note(context, "gate"),
      interceptors: [
        (next) => (call) => {
          note({ values: call.contextValues }, "interceptor");
          return next(call);
        },
      ],
    };
    const requirements = { [check]: {}, [list]: {}, [watch]: {} };
    for (const options of [
      { ...own, routes },
      { routes: (router: ConnectRouter) => void router.service(Health, sayWhoCalls, own) },
      { routes: (router: ConnectRouter) => void router.rpc(Health.method.check, sayWhoCalls.check, own) },
    ]) {
      const server = createHttp2Server(connectNodeAdapter(guard.connect(requirements, options)));
      const baseUrl = `http://${await sibling.serve(server)}`;
      const client = createClient(Health, createGrpcTransport({ baseUrl }));
      expect(await failureOf(checked(client, []))).toMatchObject({ code: Code.Unauthenticated });
      expect(ran.splice(0)).toEqual([]);
      await checked(client, [`Bearer ${secret}`]);
      expect(ran.splice(0)).toEqual(["gate for caller", "interceptor for caller"]);
    }
  });

  test("gives no request what belongs to another, should they share their context values", async () => {
    const guard = await sibling.newGuard();
    const shared = createContextValues();
    const requirements = { [check]: {}, [list]: {}, [watch]: {} };
    const { contextValues } = guard.connect(requirements, { routes, contextValues: () => shared });
    const request = new IncomingMessage(new Socket());
    expect(contextValues?.(request)).toBe(shared);
    expect(() => contextValues?.(request)).toThrow("contextValues must return new ones for each request");
  });

  test("takes two Authorization headers for none", async () => {
    const { secret } = await sibling.newKey();
    const { host } = await serveConnect("connect", await sibling.newGuard(), {
      [check]: {},
      [list]: {},
      [watch]: {},
    });
    const twice = [`Bearer ${secret}`, `Bearer ${secret}`].flatMap((value) => ["authorization", value]);
    const sent = request(`http://${host}/${check}`, {
      method: "POST",
      agent: false,
      headers: ["host", host, "content-type", "application/json", ...twice],
    }).end("{}");
    const [response] = await once(sent, "response");
    expect(response.statusCode).toBe(401);
    response.resume();
  });
});

describe("a @grpc/grpc-js server", () => {
  test("does not start with a requirement that asks for less than it seems to", async () => {
    const guard = await sibling.newGuard();
    const requirements: object = { [check]: { scope: ["rules:view"] } };
    expect(() =>
      guardInterceptor(guard, requirements as Readonly<Record<string, MethodRequirement>>),
    ).toThrow(`${check}: unknown field scope`);
  });

  test("lets nobody call a method whose requirement cannot be found out, and goes on", async () => {
    const { secret } = await sibling.newKey();
    const { client } = await serveGrpcJs(await sibling.newGuard(), ({ path }) => {
      if (path === `/${check}`) throw new Error("no such method");
      return {};
    });
    expect(await failureOf(checked(client, [`Bearer ${secret}`]))).toMatchObject({
      code: Code.PermissionDenied,
    });
    expect((await watched(client, [`Bearer ${secret}`])).get("x-api-key-id")).not.toBe("nobody");
  });

  test("lets nobody call a method that has no requirement, or is judged by a message that it has not", async () => {
    const { secret } = await sibling.newKey();
    const guard = await sibling.newGuard();
    const { client, host } = await serveGrpcJs(guard, {
      "grpc.reflection.v1.ServerReflection/ServerReflectionInfo": { distinctFromUserIds: () => [] },
    });
    expect(await failureOf(checked(client, [`Bearer ${secret}`]))).toMatchObject({
      code: Code.PermissionDenied,
      rawMessage: "this method has no requirement, so every call is refused",
    });
    const reflection = createClient(ServerReflection, createGrpcTransport({ baseUrl: `http://${host}` }));
    const headers = { authorization: `Bearer ${secret}` };
    const answers = reflection.serverReflectionInfo(createAsyncIterable([{}]), { headers });
    expect(await failureOf(answers[Symbol.asyncIterator]().next())).toMatchObject({
      code: Code.PermissionDenied,
      rawMessage: "distinctFromUserIds has no message to look at, so every call is refused",
    });
  });
});

const sayWhoCalls: ServiceImpl<typeof Health> = {
  check: (_, context) => tell(context),
  list: (_, context) => tell(context),
  async *watch(_, context) {
    yield tell(context);
  },
};

function tell({ responseHeader, values }: HandlerContext): object {
  responseHeader.set("x-api-key-id", values.get(principalKey)?.apiKeyId ?? "nobody");
  return {};
}

async function serveConnect(
  protocol: "grpc" | "connect",
  guard: Guard,
  requirements: MethodRequirements<DescMethod>,
): Promise<Served> {
  const handler = connectNodeAdapter(
    guard.connect(requirements, { routes: (router) => router.service(Health, sayWhoCalls) }),
  );
  const http1 = protocol === "connect";
  const host = await sibling.serve(http1 ? createServer(handler) : createHttp2Server(handler));
  const baseUrl = `http://${host}`;
  return clientOf(
    host,
    http1
      ? createConnectTransport({ baseUrl, httpVersion: "1.1", nodeOptions: { agent: false } })
      : createGrpcTransport({ baseUrl }),
  );
}

async function serveGrpcJs(
  guard: Guard,
  requirements: Parameters<typeof guardInterceptor>[1],
): Promise<Served> {
  const server = new Server({ interceptors: [guardInterceptor(guard, requirements)] });
  const implementation: UntypedServiceImplementation = {
    check(call: ServerUnaryCall<object, object>, callback: sendUnaryData<object>) {
      call.sendMetadata(whoCalls(call));
      callback(null, {});
    },
    list(call: ServerUnaryCall<object, object>, callback: sendUnaryData<object>) {
      call.sendMetadata(whoCalls(call));
      callback(null, {});
    },
    watch(call: ServerWritableStream<object, object>) {
      call.sendMetadata(whoCalls(call));
      call.write({});
      call.end();
    },
  };
  server.addService(grpcServiceDefinition(Health), implementation);
  server.addService(grpcServiceDefinition(ServerReflection), {
    serverReflectionInfo: (call: ServerDuplexStream<object, object>) => call.end(),
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  grpcJsServers.defer(() => server.forceShutdown());
  const host = `127.0.0.1:${port}`;
  return clientOf(host, createGrpcTransport({ baseUrl: `http://${host}` }));
}

function whoCalls(call: { metadata: Metadata }): Metadata {
  const answer = new Metadata();
  try {
    answer.set("x-api-key-id", principalOf(call).apiKeyId);
  } catch (error) {
    expect(String(error)).toContain("no guard admitted this call");
    answer.set("x-api-key-id", "nobody");
  }
  return answer;
}

const grpcJsServers = new DisposableStack();
afterAll(() => grpcJsServers.dispose());

function clientOf(host: string, transport: Transport): Served {
  return { host, client: createClient(Health, transport) };
}

/** The headers of the answer to a unary call. */
async function checked(
  client: Client<typeof Health>,
  authorization: readonly string[],
  service = "",
): Promise<Headers> {
  let answered = new Headers();
  const headers = authorization.map((value): [string, string] => ["authorization", value]);
  await client.check({ service }, { headers, onHeader: (received) => (answered = received) });
  return answered;
}

/** The headers of the answer to a call with a stream. */
async function watched(client: Client<typeof Health>, authorization: readonly string[]): Promise<Headers> {
  let answered = new Headers();
  const headers = authorization.map((value): [string, string] => ["authorization", value]);
  for await (const _ of client.watch({}, { headers, onHeader: (received) => (answered = received) }));
  return answered;
}

async function failureOf(call: Promise<unknown>): Promise<ConnectError> {
  const failure = await call.then(() => undefined, ConnectError.from);
  expect(failure).toBeInstanceOf(ConnectError);
  return failure!;
}

/** What is answered over HTTP/2 to headers alone. */
async function openStream(host: string, path: string): Promise<{ status: unknown }> {
  const session = connectHttp2(`http://${host}`);
  const headers = { ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" };
  const stream = session.request(headers, { endStream: false });
  const [answer] = await once(stream, "response");
  const [trailers] = "grpc-status" in answer ? [answer] : await once(stream.resume(), "trailers");
  expect(trailers).toMatchObject({ "grpc-status": "16", "www-authenticate": "Bearer" });
  stream.close();
  session.close();
  return { status: answer[":status"] };
}

/** What is answered over HTTP/1.1 to headers that promise a body. */
async function promiseMessage(host: string, path: string): Promise<{ status: unknown }> {
  const type = path.endsWith("Watch") ? "application/connect+json" : "application/json";
  const headers = { "content-type": type, "content-length": 1_000 };
  const sent = request(`http://${host}${path}`, { method: "POST", agent: false, headers });
  sent.flushHeaders();
  const [response] = await once(sent, "response");
  const body = await response.setEncoding("utf8").reduce((all: string, chunk: string) => all + chunk, "");
  expect(body).toContain("missing or invalid Bearer");
  sent.destroy();
  return { status: response.statusCode };
}
