import { create, fromJson, toBinary, toJson, type DescMethod, type JsonObject } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, test } from "vitest";
import { newApiKeySecret } from "#src/api-keys/secret-format.ts";
import { services } from "#src/client/services.ts";
import { callConnect, callHttp2, frame, unaryMethods } from "./calls.ts";
import { startTwoWays, type Side, type TwoWays } from "./two-ways.ts";

let ways: TwoWays;
beforeAll(async () => {
  ways = await startTwoWays();
});
afterAll(() => ways[Symbol.asyncDispose]());

const unknown = newApiKeySecret("sandbox");
const foreign = newApiKeySecret("live");

/** A small message that passes the rules, by method; an empty one is the smallest of those that are not named. */
const minimal: Readonly<Record<string, JsonObject>> = {
  CreateApiKey: { name: "bot", scopes: ["other:view"] },
  GetApiKey: { id: "key_missing" },
  UpdateApiKey: { id: "key_missing", name: "new" },
  RotateApiKey: { id: "key_missing" },
  EndApiKeyGrace: { id: "key_missing" },
  RevokeApiKey: { id: "key_missing" },
  UpsertServiceConnection: { serviceSlug: "custom:one", baseUrl: "http://127.0.0.1:9", apiKey: "k" },
  GetConnection: { id: "scn_missing" },
  UpdateConnection: { id: "scn_missing", active: false },
  DeleteConnection: { id: "scn_missing" },
  TestConnection: { id: "scn_missing" },
  CallService: { service: "custom:none", method: "GET", path: "/" },
  UpsertUser: { email: "ada@example.com" },
  GetUser: { id: "usr_missing" },
  DeactivateUser: { id: "usr_missing" },
  VerifyKey: { key: unknown },
  VerifyKeys: { requests: [{ key: unknown }] },
};

interface Question {
  readonly json: string;
  readonly binary: Buffer;
}

function questionOf(method: DescMethod, side: Side): Question {
  // What one organisation has imported, another one cannot.
  const key = `aml_0123456789abcdef${side.service.org.orgId.slice(-16)}`;
  const imported = { name: "old", key, scopes: ["other:view"], environment: "sandbox" };
  const message = fromJson(
    method.input,
    method.name === "ImportKey" ? imported : (minimal[method.name] ?? {}),
  );
  return {
    json: JSON.stringify(toJson(method.input, message)),
    binary: Buffer.from(toBinary(method.input, message)),
  };
}

type Ask = (
  side: Side,
  requestId: string,
  method: DescMethod,
  question: Question,
  secret: string | undefined,
) => ReturnType<typeof callConnect>;

const protocols: readonly (readonly [string, Ask])[] = [
  [
    "Connect JSON",
    (side, id, method, { json }, secret) => callConnect(side, id, { method, body: json, secret }),
  ],
  [
    "Connect proto",
    (side, id, method, { binary }, secret) =>
      callConnect(side, id, { method, body: binary, secret, type: "application/proto" }),
  ],
  [
    "gRPC",
    (side, id, method, { binary }, secret) =>
      callHttp2(side, id, { method, steps: [frame(binary), "end"], secret }),
  ],
];

/** A caller that ends its own key asks with a new one each time. */
async function adminOf(side: Side, method: DescMethod): Promise<string> {
  if (method !== services.apiKeys.method.revokeOwnApiKey) return side.keys.admin;
  const { secret } = await side.service.org.client.apiKeys.createApiKey({
    name: "own",
    scopes: ["other:view"],
  });
  return secret;
}

const named = unaryMethods.map((method) => [method.name, method] as const);

describe.each(protocols)("over %s", (protocol, ask) => {
  test.each(named)("%s answers the same both ways, to whatever key and message", async (name, method) => {
    const empty = { json: "{}", binary: Buffer.from(toBinary(method.input, create(method.input))) };
    const title = (what: string) => `${name} ${protocol} ${what}`;
    await ways.same(title("empty"), async (side, id) =>
      ask(side, id, method, empty, await adminOf(side, method)),
    );
    await ways.same(title("valid"), async (side, id) =>
      ask(side, id, method, questionOf(method, side), await adminOf(side, method)),
    );
    await ways.same(title("no key"), (side, id) =>
      ask(side, id, method, questionOf(method, side), undefined),
    );
    await ways.same(title("malformed key"), (side, id) =>
      ask(side, id, method, questionOf(method, side), "nonsense"),
    );
    await ways.same(title("foreign key"), (side, id) =>
      ask(side, id, method, questionOf(method, side), foreign),
    );
    await ways.same(title("revoked key"), (side, id) =>
      ask(side, id, method, questionOf(method, side), side.keys.revoked),
    );
    if (method === services.apiKeys.method.revokeOwnApiKey) return;
    await ways.same(title("no scope"), (side, id) =>
      ask(side, id, method, questionOf(method, side), side.keys.scopeless),
    );
  });

  test.each(named)("%s refuses two Authorization headers the same both ways", async (name, method) => {
    await ways.same(`${name} ${protocol} two`, (side, id) =>
      protocol === "gRPC"
        ? callHttp2(side, id, {
            method,
            headers: { authorization: [`Bearer ${side.keys.admin}`, `Bearer ${side.keys.admin}`] },
          })
        : callConnect(side, id, {
            method,
            secret: side.keys.admin,
            lines: [`authorization: Bearer ${side.keys.admin}`],
            ...(protocol === "Connect proto"
              ? { type: "application/proto", body: questionOf(method, side).binary }
              : { body: questionOf(method, side).json }),
          }),
    );
  });
});

test("both ways left the same metrics and the same audit rows", () => ways.sameLeftBehind());
