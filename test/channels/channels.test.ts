import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startService, type TestService } from "../support/service.ts";

let service: TestService;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

const path = "/api/event-channels";

describe("a new channel", () => {
  test("has an address for its sender, and a secret that is shown once", async () => {
    const made = await service.org.rest("POST", path, { name: "GitHub", webhook: { preset: "github" } });
    const { channel, secret, url } = made.body.data;
    expect(made.status).toBe(201);
    expect(url).toBe(`${service.url}/in/${channel.id}`);
    expect(secret).toMatch(/^.{43}$/);
    expect(channel).toMatchObject({
      kind: "webhook",
      state: "active",
      receiver: { authentication: "signature", maxBodyBytes: 1024 * 1024 },
      lastSeq: "0",
      secrets: [{ version: 1 }],
    });
    const got = await service.org.rest("GET", `${path}/${channel.id}`);
    expect(got.body.data).toEqual({ channel });
    const listed = await service.org.client.channels.listChannels({});
    expect(listed.channels.map(({ id }) => id)).toContain(channel.id);
  });

  test("shows no secret that its caller gave", async () => {
    const { channel, secret } = await service.org.client.channels.createChannel({
      name: "Stripe",
      source: { case: "webhook", value: { preset: "stripe" } },
      secret: "whsec_given_by_the_vendor",
    });
    expect(secret).toBeUndefined();
    expect(channel?.secrets).toHaveLength(1);
  });

  test("without authentication has a secret segment, and says so", async () => {
    const { channel, secret, url } = await service.org.client.channels.createChannel({
      name: "anybody",
      source: { case: "cloudEvents", value: {} },
      receiver: { authentication: "none" },
    });
    expect(secret).toBeUndefined();
    expect(url).toMatch(new RegExp(`/in/${channel!.id}/[A-Za-z0-9_-]{43}$`));
    expect(channel?.receiver?.authentication).toBe("none");
    const segment = url.split("/").at(-1) ?? "";
    const events = await service.org.client.audit.listAuditEvents({});
    expect(events.events.some(({ action }) => action === "channel.create")).toBe(true);
    expect(JSON.stringify(events, (_, value: unknown) => String(value))).not.toContain(segment);
    expect(service.logged()).not.toContain(segment);
  });

  test.each([
    ["no source", {}, "give one of webhook, cloudEvents"],
    ["two sources", { webhook: {}, cloudEvents: {} }, "cloudEvents"],
    [
      "a secret that nothing asks for",
      { cloudEvents: {}, secret: "a-secret-of-mine" },
      "secret: with authentication bearer, senders prove themselves without it; leave it out",
    ],
    [
      "Basic without a name",
      { webhook: {}, receiver: { authentication: "basic" }, secret: "password" },
      "secret: give name:password for authentication basic",
    ],
    [
      "a body in an answer 204",
      { webhook: {}, receiver: { reply: { status: 204, body: "ok" } } },
      "receiver.reply.body: an answer 204 has none",
    ],
    ["a minute's retention", { webhook: {}, retentionSeconds: 60 }, "retentionSeconds: give at least 3600"],
  ])("is refused with %s", async (_, fields, error) => {
    const refused = await service.org.rest("POST", path, { name: "x", ...fields });
    expect(refused.status).toBe(400);
    expect(refused.body.error).toContain(error);
  });
});

test("a channel of another organisation looks like one that does not exist", async () => {
  const { client } = await service.newOrganization("globex");
  const source = { case: "webhook", value: {} } as const;
  const theirs = await client.channels.createChannel({ name: "theirs", source });
  const id = theirs.channel!.id;
  const { channels } = service.org.client;
  await expect(channels.getChannel({ id })).rejects.toMatchObject({ code: Code.NotFound });
  await expect(channels.deleteChannel({ id })).rejects.toMatchObject({ code: Code.NotFound });
  const listed = await channels.listChannels({});
  expect(listed.channels.map((channel) => channel.id)).not.toContain(id);
});

test("a deleted channel is gone, also for who deletes it twice", async () => {
  const { channels } = service.org.client;
  const source = { case: "webhook", value: {} } as const;
  const id = (await channels.createChannel({ name: "short", source })).channel!.id;
  await channels.deleteChannel({ id });
  await expect(channels.getChannel({ id })).rejects.toMatchObject({ code: Code.NotFound });
  await expect(channels.deleteChannel({ id })).rejects.toMatchObject({ code: Code.NotFound });
});
