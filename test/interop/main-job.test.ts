import { toJsonString } from "@bufbuild/protobuf";
import { credentials } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import {
  type CallServiceResponse,
  CallServiceResponseSchema,
} from "#gen/patchbay/connections/v1/connection_service_pb.js";
import * as grpcJs from "#src/client/grpc-js.ts";
import * as web from "#src/client/web.ts";
import { startService, type TestService } from "../support/service.ts";
import { type IdentityProvider, startIdentityProvider } from "./identity-provider.ts";
import { run } from "./support.ts";

let service: TestService;
let provider: IdentityProvider;
let token: string;
/** Everything that Patchbay answered, as its clients read it. */
const answers: string[] = [];

beforeAll(async () => {
  // It advises on what to configure for production.
  vi.spyOn(console, "info").mockReturnValue();
  vi.spyOn(console, "warn").mockReturnValue();
  provider = await startIdentityProvider();
  token = await provider.issueToken("maria");
  service = await startService();
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await provider[Symbol.asyncDispose]();
  vi.restoreAllMocks();
});

/** A request over curl; keeps what came back, headers too. */
async function curl(path: string, json?: unknown): Promise<string> {
  const body = json === undefined ? [] : ["--json", "@-"];
  const args = [
    "--disable",
    "--silent",
    "--show-error",
    "--include",
    "--oauth2-bearer",
    service.org.secret,
    ...body,
  ];
  const { status, stdout, stderr } = await run(
    "curl",
    [...args, service.url + path],
    json === undefined ? "" : JSON.stringify(json),
  );
  expect({ status, stderr }).toStrictEqual({ status: 0, stderr: "" });
  answers.push(stdout);
  return stdout;
}

function bodyOf(reply: string) {
  return JSON.parse(reply.slice(reply.indexOf("\r\n\r\n")));
}

const userinfo = { service: "custom:oidc", method: "GET", path: "/me" };
const withWrongToken = { ...userinfo, service: "custom:oidc-wrong" };

const clients: [
  name: string,
  call: (asked: typeof userinfo) => Promise<{ status: number; json: unknown }>,
][] = [
  ["curl", async (asked) => bodyOf(await curl("/api/service-calls", asked)).data],
  [
    "the typed gRPC client",
    async (asked) => {
      const address = new URL(service.url).host;
      const options = { address, credentials: credentials.createInsecure(), apiKey: service.org.secret };
      const client = grpcJs.createPatchbayClient(options);
      const answer = await client.connections.callService(asked);
      client.close();
      return readable(answer);
    },
  ],
  [
    "Connect-Web",
    async (asked) => {
      const client = web.createPatchbayClient({ baseUrl: service.url, apiKey: service.org.secret });
      return readable(await client.connections.callService(asked));
    },
  ],
];

function readable(answer: CallServiceResponse): { status: number; json: unknown } {
  const text = toJsonString(CallServiceResponseSchema, answer);
  answers.push(text);
  return JSON.parse(text);
}

test("a connection to a provider is registered with the token that the provider issued", async () => {
  for (const [serviceSlug, apiKey] of [
    ["custom:oidc", token],
    ["custom:oidc-wrong", "a-wrong-token"],
  ]) {
    const reply = await curl("/api/service-connections", { serviceSlug, baseUrl: provider.url, apiKey });
    expect(reply).toMatch(/^HTTP\/1\.1 201 /);
  }
});

describe.each(clients)("through %s", (_, call) => {
  test("the provider says whose token the connection holds", async () => {
    expect(await call(userinfo)).toMatchObject({ status: 200, json: { sub: "maria" } });
  });

  test("the provider's refusal of a wrong token comes back as it is", async () => {
    expect(await call(withWrongToken)).toMatchObject({ status: 401, json: { error: "invalid_token" } });
  });
});

describe("afterwards", () => {
  /** What would give the token away: itself, or an encoding that anybody can undo. */
  const tracesOf = (secret: string) => {
    const bytes = Buffer.from(secret);
    const base64 = [0, 1, 2].map((before) =>
      // Without the characters that depend on what stands around it.
      Buffer.concat([Buffer.alloc(before), bytes])
        .toString("base64")
        .slice(before + 1, -4),
    );
    const hex = bytes.toString("hex");
    const percent = hex.replace(/../g, "%$&");
    const urlSafe = base64.map((text) => text.replaceAll("+", "-").replaceAll("/", "_"));
    return [secret, encodeURIComponent(secret), ...base64, ...urlSafe, hex, hex.toUpperCase(), percent];
  };
  const found = (text: string, secret: string) => tracesOf(secret).filter((trace) => text.includes(trace));

  test("the token is in no answer, whatever is asked", async () => {
    const { id } = bodyOf(await curl("/api/service-connections")).data.connections[0];
    await curl(`/api/service-connections/${id}`);
    await curl(`/api/service-connections/${id}/test`, {});
    await curl("/api/catalog/services");
    const audit = await curl("/api/audit/events");
    expect(audit).toContain("custom:oidc");
    expect(answers.length).toBeGreaterThan(10);
    expect(found(answers.join("\n"), token)).toStrictEqual([]);
  });

  test("the token is not in the log", () => {
    expect(service.logged()).toContain("ConnectionService/CallService");
    expect(found(service.logged(), token)).toStrictEqual([]);
  });

  test("the token is in no column of any table", async () => {
    const tables = await service.postgres.asOwner(
      "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname !~ '^(pg_|information_)'",
    );
    const rows: unknown[] = [];
    for (const { name } of tables)
      rows.push(...(await service.postgres.asOwner(`select t::text as row from ${name} t`)));
    const dump = JSON.stringify(rows);
    expect(tables.length).toBeGreaterThan(8);
    expect(dump).toContain(provider.url);
    expect(found(dump, token)).toStrictEqual([]);
  });

  test("the search finds a token that is there, in each encoding", () => {
    const bytes = Buffer.from(token);
    const hidden = [token, `x${token}`, `xy${token}`].map((text) => Buffer.from(text).toString("base64"));
    for (const text of [token, ...hidden, bytes.toString("hex"), bytes.toString("base64url")]) {
      expect(found(`before ${text} after`, token)).not.toStrictEqual([]);
    }
  });
});
