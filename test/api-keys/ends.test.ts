import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { startReplicas } from "../support/replicas.ts";
import { startService, type TestService } from "../support/service.ts";

const hour = 60 * 60 * 1000;
const day = 24 * hour;

async function keyThatEndsIn(service: TestService, milliseconds: number) {
  const expiresAt = timestampFromDate(new Date(service.clock.now().getTime() + milliseconds));
  const wanted = { name: "bot", scopes: ["other:view"], expiresAt };
  return (await service.org.client.apiKeys.createApiKey(wanted)).apiKey!.id;
}

/** What the log says of the key, in its order. */
async function saidOf({ org }: TestService, id: string) {
  const { events } = await org.client.events.listEvents({ log: "service", withData: true });
  return events
    .filter(({ subject }) => subject === id)
    .map(({ type, data }) => [
      type,
      (JSON.parse(Buffer.from(data!).toString()) as { daysLeft?: number }).daysLeft,
    ]);
}

test("that a key ends is said seven days and one day before, and when it ended: once, and anew for another end", async () => {
  await using service = await startService();
  const look = async (milliseconds: number) => {
    service.clock.advance(milliseconds);
    await service.app.loops.keys.runOnce();
    await service.app.loops.keys.runOnce();
  };
  const id = await keyThatEndsIn(service, 10 * day);
  const short = await keyThatEndsIn(service, 2 * hour);
  const revoked = await keyThatEndsIn(service, 3 * hour);
  await service.org.client.apiKeys.revokeApiKey({ id: revoked });
  await look(2.9 * day);
  expect(await saidOf(service, id)).toEqual([]);
  expect(await saidOf(service, short)).toEqual([["api_key.expired", undefined]]);
  expect(await saidOf(service, revoked)).toEqual([]);
  await look(0.2 * day);
  await look(day);
  expect(await saidOf(service, id)).toEqual([["api_key.expiring", 7]]);
  await look(5 * day);
  expect(await saidOf(service, id)).toEqual([["api_key.expiring", 7], ["api_key.expiring", 1]]); // prettier-ignore
  const later = timestampFromDate(new Date(service.clock.now().getTime() + 3 * day));
  await service.org.client.apiKeys.updateApiKey({ id, expiresAt: later });
  await look(0);
  expect((await saidOf(service, id)).at(-1)).toEqual(["api_key.expiring", 7]);
  await look(4 * day);
  expect((await saidOf(service, id)).at(-1)).toEqual(["api_key.expired", undefined]);
});

test("replicas that look at the same time say it once, in every organisation's own log", async () => {
  await using replicas = await startReplicas();
  const { one, other } = replicas;
  const ids = await Promise.all(Array.from({ length: 30 }, () => keyThatEndsIn(one, hour)));
  await one.newOrganization("globex");
  for (const { clock } of [one, other]) clock.advance(2 * hour);
  await Promise.all([one, other, one, other].map(({ app }) => app.loops.keys.runOnce()));
  const { events } = await one.org.client.events.listEvents({ log: "service" });
  expect(events).toHaveLength(ids.length);
  expect(new Set(events.map(({ subject }) => subject))).toEqual(new Set(ids));
});
