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
      "secret: give it as name:password",
    ],
    [
      "a body in an answer 204",
      { webhook: {}, receiver: { reply: { status: 204, body: "ok" } } },
      "receiver.reply.body: an answer 204 has none",
    ],
    [
      "a secret that can be guessed",
      { webhook: {}, secret: "short" },
      "secret: must be at least 8 characters",
    ],
    [
      "a proof that there is not",
      { webhook: {}, receiver: { authentication: "x" } },
      "receiver.authentication: give one of signature, token, basic, bearer, none",
    ],
    ["a preset that there is not", { webhook: { preset: "nowhere" } }, "webhook.preset: give one of generic"],
    [
      "a scheme beside a preset",
      { webhook: { preset: "github", scheme: { header: "x-sig" } } },
      "the preset github says how its sender signs",
    ],
    [
      "a scheme that leaves the body unsigned",
      { webhook: { scheme: { header: "x-sig", signed: "{url}" } } },
      "webhook.scheme: signed must hold {body}",
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

describe("a channel that is there", () => {
  const channels = () => service.org.client.channels;

  async function newChannel(preset = "generic", authentication = "") {
    const source = { case: "webhook", value: { preset } } as const;
    const made = await channels().createChannel({ name: "before", source, receiver: { authentication } });
    return { id: made.channel!.id, ...made };
  }

  test("changes in what is given, and keeps the rest", async () => {
    const { id } = await newChannel();
    const { channel } = await channels().updateChannel({
      id,
      name: "after",
      receiver: { maxBodyBytes: 5 },
      retentionSeconds: 3_600,
    });
    expect(channel).toMatchObject({
      ...{ name: "after", retentionSeconds: 3_600, dedupSeconds: 604_800 },
      receiver: { authentication: "signature", maxBodyBytes: 5, requestsPerMinute: 6_000 },
    });
    expect((await channels().getChannel({ id })).channel).toEqual(channel);
  });

  test.each([
    ["nothing", {}, "nothing to change"],
    ["how senders prove themselves", { receiver: { authentication: "none" } }, "cannot be changed"],
    ["what it has not", { cloudEvents: {} }, "the channel is of kind webhook"],
  ])("refuses to change %s", async (_, change, message) => {
    const { id } = await newChannel();
    await expect(channels().updateChannel({ id, ...change })).rejects.toThrow(message);
  });

  test("is paused and resumed, each once on record", async () => {
    const { id } = await newChannel();
    expect((await channels().pauseChannel({ id })).channel?.state).toBe("paused");
    await channels().pauseChannel({ id });
    expect((await channels().resumeChannel({ id })).channel?.state).toBe("active");
    const { events } = await service.org.client.audit.listAuditEvents({ target: id });
    expect(events.map(({ action }) => action).toSorted()).toEqual([
      "channel.create",
      "channel.pause",
      "channel.resume",
    ]);
  });

  test("has at most five secrets that are good, ends all of them when told, and has none of them in its record", async () => {
    const { id, secret } = await newChannel();
    const secrets = [secret];
    for (let i = 0; i < 4; i++) secrets.push((await channels().rotateChannelSecret({ id })).secret);
    await expect(channels().rotateChannelSecret({ id })).rejects.toThrow("5 secrets that are still good");
    const after = await channels().rotateChannelSecret({
      id,
      secret: "given by the vendor",
      graceSeconds: 0,
    });
    expect([after.secret, after.channel?.secrets.map(({ version }) => version)]).toEqual([undefined, [6]]);
    const record = await service.org.rest("GET", `/api/audit/events?target=${id}`);
    for (const one of [...secrets, "given by the vendor"]) {
      expect(JSON.stringify(record.body)).not.toContain(one);
    }
  });

  test("of a vendor that makes the secret has none until it is given", async () => {
    const { id, channel, secret } = await newChannel("stripe");
    expect([secret, channel?.secrets]).toEqual([undefined, []]);
    const rotated = await channels().rotateChannelSecret({ id, secret: "whsec_from_the_vendor" });
    expect(rotated.channel?.secrets.map(({ version }) => version)).toEqual([1]);
  });

  test("stores an event to see that readers get it", async () => {
    const { id } = await newChannel();
    const tested = await service.org.rest("POST", `/api/event-channels/${id}/test`, {});
    expect(tested.body).toMatchObject({ ok: true, seq: "1" });
    expect((await channels().getChannel({ id })).channel?.lastSeq).toBe(1n);
  });
});
