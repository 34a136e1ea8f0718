import { credentials, InterceptingCall, type Interceptor, Metadata } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import * as grpcJs from "#src/client/grpc-js.ts";
import * as node from "#src/client/node.ts";
import * as web from "#src/client/web.ts";
import { startStub } from "./stub-service.ts";

type Stub = Awaited<ReturnType<typeof startStub>>;

/** What the three clients have in common. */
interface Calls {
  apiKeys: { whoAmI(request: object): Promise<node.WhoAmIResponse> };
  audit: { listAuditEvents(request: object): Promise<node.ListAuditEventsResponse> };
}

const clients = [
  {
    entry: "patchbay/client",
    reasonOf: node.reasonOf,
    connect: (stub: Stub, apiKey: node.ApiKey): Calls =>
      node.createPatchbayClient({ baseUrl: `http://${stub.grpcAddress}`, apiKey }),
  },
  {
    entry: "patchbay/web",
    reasonOf: web.reasonOf,
    connect: (stub: Stub, apiKey: web.ApiKey): Calls =>
      web.createPatchbayClient({ baseUrl: stub.webUrl, apiKey }),
  },
  {
    entry: "patchbay/client/grpc-js",
    reasonOf: grpcJs.reasonOf,
    connect: (stub: Stub, apiKey: grpcJs.ApiKey): Calls => overGrpcJs(stub, apiKey),
  },
];

function overGrpcJs(stub: Stub, apiKey: grpcJs.ApiKey) {
  return grpcJs.createPatchbayClient({
    address: stub.grpcAddress,
    credentials: credentials.createInsecure(),
    apiKey,
  });
}

describe.each(clients)("$entry", ({ connect, reasonOf }) => {
  test("asks for the key before each call, so that a rotated one is picked up", async () => {
    await using stub = await startStub("new");
    let key = "old";
    const client = connect(stub, () => key);
    await expect(client.apiKeys.whoAmI({})).rejects.toThrow("invalid api key");
    key = "new\n";
    await expect(client.apiKeys.whoAmI({})).resolves.toMatchObject({ name: "ci", scopes: ["api:manage"] });
  });

  test("says the reason of a refusal", async () => {
    await using stub = await startStub("good");
    const error = await failureOf(connect(stub, "bad").apiKeys.whoAmI({}));
    expect(reasonOf(error)).toBe("INVALID_BEARER");
  });

  test("knows no reason for a failure that is not a refusal of Patchbay", async () => {
    await using proxy = await startStub("good", "proxy.example");
    expect(reasonOf(await failureOf(connect(proxy, "bad").apiKeys.whoAmI({})))).toBeUndefined();
    expect(reasonOf(await failureOf(connect(proxy, "good").audit.listAuditEvents({})))).toBeUndefined();
    expect(reasonOf(new Error("no call"))).toBeUndefined();
    expect(reasonOf(undefined)).toBeUndefined();
  });

  test.each(["", " \n", "two words", "c\u0000ntrol", "schlüssel"])(
    "refuses %j as a key without quoting it",
    async (key) => {
      await using stub = await startStub("good");
      const error = await failureOf(connect(stub, key).apiKeys.whoAmI({}));
      expect(String(error)).toMatch(/apiKey is empty or holds a character that no key has/);
      if (key.trim() !== "") expect(String(error)).not.toContain(key);
    },
  );
});

describe("patchbay/client/grpc-js", () => {
  test("presents the key beside the metadata, options and interceptors of a call", async () => {
    await using stub = await startStub("good");
    const client = overGrpcJs(stub, "good");
    const metadata = new Metadata();
    metadata.set("x-request-id", "r1");
    let sent: unknown;
    const spy: Interceptor = (options, next) =>
      new InterceptingCall(next(options), {
        start(all, listener, start) {
          sent = all.getMap();
          start(all, listener);
        },
      });
    await client.apiKeys.whoAmI({}, metadata, { deadline: Date.now() + 5_000, interceptors: [spy] });
    expect(sent).toEqual({ "x-request-id": "r1", authorization: "Bearer good" });
    expect(metadata.get("authorization")).toEqual([]);
    client.close();
  });

  test("answers to a callback as every @grpc/grpc-js client does", async () => {
    await using stub = await startStub("good");
    const client = overGrpcJs(stub, "good");
    const name = await new Promise((resolve, reject) => {
      client.apiKeys.whoAmI({}, (error, response) => (error ? reject(error) : resolve(response?.name)));
    });
    expect(name).toBe("ci");
    client.close();
  });

  test("gives the failure itself when its details cannot be read", () => {
    const metadata = new Metadata();
    metadata.set("grpc-status-details-bin", Buffer.from("not a google.rpc.Status"));
    expect(grpcJs.reasonOf(Object.assign(new Error("13 INTERNAL"), { metadata }))).toBeUndefined();
  });
});

async function failureOf(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => expect.unreachable("the call should have failed"),
    (error: unknown) => error,
  );
}
