import { Code, ConnectError } from "@connectrpc/connect";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { describe, expect, test } from "vitest";
import { reasonOf } from "#src/client/node.ts";
import { startService, type TestService } from "../support/service.ts";

async function register(service: TestService, slug: string): Promise<string> {
  const wanted = { serviceSlug: slug, baseUrl: "https://aml.example", apiKey: "k" };
  const { connection } = await service.org.client.connections.upsertServiceConnection(wanted);
  return connection!.id;
}

async function keyOf(service: TestService, email: string) {
  const { user } = await service.org.client.directory.upsertUser({ email });
  const { secret } = await service.org.client.apiKeys.createApiKey({
    name: "bot",
    scopes: ["connections:write"],
    actAsUserId: user!.id,
  });
  return { userId: user!.id, ...service.as(secret) };
}

describe.each([{ environment: "live" }, { environment: "sandbox", fourEyesDeletion: "always" }] as const)(
  "with %j, deleting a connection",
  (options) => {
    test("is refused to a key without an active user, on each path and over RPC; the audit names the user", async () => {
      await using service = await startService(options);
      const id = await register(service, "aml");
      for (const path of [`/api/service-connections/${id}`, `/api/connections/${id}`]) {
        const reply = await service.org.rest("DELETE", path);
        expect([reply.status, reply.body]).toStrictEqual([422, { error: "api_key_not_bound_to_user" }]);
        expect(reply.headers.get("x-error-reason")).toBe("API_KEY_NOT_BOUND_TO_USER");
      }
      const thrown = await service.org.client.connections
        .deleteConnection({ id })
        .catch((error: unknown) => error);
      expect(thrown).toBeInstanceOf(ConnectError);
      expect(thrown).toMatchObject({
        code: Code.FailedPrecondition,
        rawMessage: "api_key_not_bound_to_user",
      });
      expect(reasonOf(thrown)).toBe("API_KEY_NOT_BOUND_TO_USER");
      expect((await service.org.rest("GET", `/api/connections/${id}`)).status).toBe(200);
      // Nothing else asks for a person.
      expect((await service.org.rest("PATCH", `/api/connections/${id}`, { active: false })).status).toBe(200);

      const ada = await keyOf(service, "ada@example.com");
      expect((await ada.rest("DELETE", `/api/connections/${id}`)).status).toBe(200);
      const { events } = await service.org.client.audit.listAuditEvents({ target: id });
      expect(events[0]).toMatchObject({ action: "connection.delete", userId: ada.userId });
      expect(events[0]!.apiKeyId).toMatch(/^key_/);

      await service.org.client.directory.deactivateUser({ id: ada.userId });
      const other = await register(service, "identity");
      const refused = await ada.rest("DELETE", `/api/connections/${other}`);
      expect([refused.status, refused.body]).toStrictEqual([422, { error: "api_key_not_bound_to_user" }]);
    });
  },
);

describe.each([{ environment: "sandbox" }, { environment: "live", fourEyesDeletion: "never" }] as const)(
  "with %j, deleting a connection",
  (options) => {
    test("takes no user", async () => {
      await using service = await startService(options);
      const id = await register(service, "aml");
      expect((await service.org.rest("DELETE", `/api/connections/${id}`)).status).toBe(200);
    });
  },
);

test("an unbound key is told so before its body is read, and after its scope was checked", async () => {
  await using service = await startService({ fourEyesDeletion: "always" });
  const { secret } = await service.org.client.apiKeys.createApiKey({ name: "k", scopes: ["a:view"] });
  const ask = async (key: string) => {
    const socket = connect(Number(new URL(service.url).port), "127.0.0.1");
    // A body is announced and never sent.
    socket.write(
      "POST /patchbay.connections.v1.ConnectionService/DeleteConnection HTTP/1.1\r\nhost: x\r\n" +
        `authorization: Bearer ${key}\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n{`,
    );
    return text(socket);
  };
  expect(await ask(service.org.secret)).toContain("api_key_not_bound_to_user");
  expect(await ask(secret)).toContain("missing scope: connections:write");
});
