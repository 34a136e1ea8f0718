import { once } from "node:events";
import { expect, test, vi } from "vitest";
import { newRootKeyText } from "#src/crypto/root-key.ts";
import { patchbay, temporaryFolder } from "../cli/patchbay.ts";
import { startProxy } from "../support/postgres-proxy.ts";
import { startService } from "../support/service.ts";
import { startSourceServices, startStreamServer } from "../support/sources.ts";
import { startUpstream, type Answer, type Asked } from "../support/upstream.ts";

const patience = { timeout: 30_000, interval: 50 };
const lastItem = 30;
const day = 24 * 60 * 60 * 1_000;

/** The numbers up to the last, oldest first, ten a page, `?page=` counting from 1. */
function pageOf({ url }: Asked): Answer {
  const page = Number(new URL(url, "http://x").searchParams.get("page") ?? "1");
  const items = Array.from({ length: 10 }, (_, i) => ({ id: (page - 1) * 10 + i + 1 }));
  const link = page * 10 < lastItem ? { link: `</list?page=${page + 1}>; rel=next` } : {};
  return { headers: link, body: JSON.stringify(items) };
}

test("a process that is killed while it reads loses nothing, and stores nothing twice: another one goes on where it was", async () => {
  const rootKey = newRootKeyText();
  await using services = await startSourceServices(rootKey);
  await using folder = await temporaryFolder();
  await using streams = await startStreamServer();
  await using lists = await startUpstream();
  // The killed one waits for the last page, with two of them in its memory.
  lists.answer(async (asked) => (asked.url.includes("page=3") ? await new Promise(() => {}) : pageOf(asked)));
  const [stream, list] = [
    await services.stream(streams.url, { path: "/feed" }),
    await services.poll(lists.url, { path: "/list", order: "ascending", nextByLink: true, start: "all" }),
  ];
  // Its probes ask both servers for a sign of life as well.
  const feeds = () => streams.opened.filter(({ url }) => url === "/feed");
  const env = { DATABASE_URL: services.one.postgres.url, PATCHBAY_ROOT_KEY: rootKey };
  await using owner = patchbay(["start", "--port", "0", "--data-dir", folder.path], { env });
  await vi.waitFor(() => expect(feeds()).toHaveLength(1), patience);
  const old = feeds()[0]?.response;
  old?.write("id: 1\ndata: a\n\nid: 2\ndata: b\n\n");
  const namesOf = async (log: string) => (await services.eventsOf(log)).map(({ id }) => id);
  await vi.waitFor(async () => expect(await namesOf(stream)).toStrictEqual(["1", "2"]), patience);
  await vi.waitFor(() => expect(lists.asked.some(({ url }) => url === "/list?page=3")).toBe(true), patience);
  // It may have read this, and stored it or not.
  old?.write("id: 3\ndata: c\n\n");
  expect((await owner.kill("SIGKILL")).signal).toBe("SIGKILL");

  lists.answer(pageOf);
  const { clock, app } = services.other;
  clock.advance(Date.now() - clock.now().getTime());
  await app.loops.sources.runOnce();
  expect(feeds()).toHaveLength(1);
  await services.endLeases();
  await app.loops.sources.runOnce();
  await vi.waitFor(() => expect(feeds()).toHaveLength(2), patience);
  const { headers, response } = feeds()[1]!;
  const known = Number(headers["last-event-id"]);
  expect([2, 3]).toContain(known);
  for (let n = known; n <= 4; n++) response.write(`id: ${n}\ndata: ${"-abcd"[n]}\n\n`);
  await vi.waitFor(async () => expect(await namesOf(stream)).toStrictEqual(["1", "2", "3", "4"]), patience);
  expect(await namesOf(list)).toStrictEqual(Array.from({ length: lastItem }, (_, i) => String(i + 1)));
  expect([...(await services.gapsOf(stream)), ...(await services.gapsOf(list))]).toStrictEqual([]);
});

test("a replica that lost its database stores nothing more once another one reads, and leaves the stream", async () => {
  const rootKey = newRootKeyText();
  await using services = await startSourceServices(rootKey);
  const { postgres } = services.one;
  await using proxy = await startProxy(postgres.url);
  await using cutOff = await startService({ postgres: { ...postgres, url: proxy.url }, rootKey });
  await using server = await startStreamServer();
  const id = await services.stream(server.url);
  await cutOff.app.loops.sources.runOnce();
  const { response: old } = await server.stream(0);
  const left = once(old, "close");
  const untilStored = (...ids: string[]) =>
    vi.waitFor(
      async () => expect((await services.eventsOf(id)).map(({ id: name }) => name)).toStrictEqual(ids),
      patience,
    );
  old.write("id: 1\ndata: a\n\n");
  await untilStored("1");
  await proxy.close();
  old.write("id: 2\ndata: from the old one\n\n");
  await expect(cutOff.app.loops.sources.runOnce()).rejects.toThrow();
  services.other.clock.advance(cutOff.clock.now().getTime() - services.other.clock.now().getTime());
  await services.endLeases();
  await services.other.app.loops.sources.runOnce();
  const { headers, response } = await server.stream(1);
  expect(headers["last-event-id"]).toBe("1");
  await proxy.reopen();
  await left;
  response.write("id: 2\ndata: b\n\nid: 3\ndata: c\n\n");
  await untilStored("1", "2", "3");
  expect((await services.eventsOf(id)).map(({ data }) => String(data))).toStrictEqual(["a", "b", "c"]);
  expect(await services.gapsOf(id)).toStrictEqual([]);
});

test.each([
  ["ahead", day],
  ["back", -day],
])("a replica whose clock is a day %s takes no source away from the one that reads it", async (_, ms) => {
  await using services = await startSourceServices();
  await using server = await startStreamServer();
  await services.stream(server.url);
  await services.one.app.loops.sources.runOnce();
  await server.stream(0);
  const lease = "select lease from channel_sources";
  const held = await services.one.postgres.asOwner(lease);
  services.other.clock.advance(ms);
  await services.other.app.loops.sources.runOnce();
  expect(await services.one.postgres.asOwner(lease)).toEqual(held);
});

test("a stream that a replica left behind whose clock was a day ahead is read on after its lease all the same", async () => {
  await using services = await startSourceServices();
  await using streams = await startStreamServer();
  const { one, other } = services;
  await services.stream(streams.url);
  other.clock.advance(day);
  await other.app.loops.sources.runOnce();
  await streams.stream(0);
  await services.endLeases();
  await one.app.loops.sources.runOnce();
  await streams.stream(1);
});
