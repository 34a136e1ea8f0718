import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { startService, type TestService } from "../support/service.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { patchbay, run, temporaryFolder } from "./patchbay.ts";

let service: TestService;
let upstream: Upstream;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;

beforeAll(async () => {
  [service, upstream, folder] = await Promise.all([startService(), startUpstream(), temporaryFolder()]);
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const env = () => ({ PATCHBAY_URL: service.url, PATCHBAY_KEY: service.org.secret });

/** Runs the command to its end: its code, and what it wrote. */
async function cli(...args: string[]) {
  const { code, stdout, stderr } = await run(args, { env: env() });
  return { code, stdout, stderr };
}

/** What a command said of one thing, by label. */
function factsIn(stdout: string): Map<string, string> {
  return new Map(
    [...stdout.matchAll(/^(\S+(?: \S+)*) {2,}(.*)$/gm)].map(([, label = "", fact = ""]) => [label, fact]),
  );
}

/** A channel that takes CloudEvents of whoever knows its address. */
async function openChannel(): Promise<{ id: string; url: string }> {
  const args = ["channels", "create", "Shop", "--from", "cloudevents", "--authentication", "none"];
  const made = factsIn((await cli(...args)).stdout);
  return { id: made.get("id")!, url: made.get("url")! };
}

async function send(
  url: string,
  id: string,
  attributes: Record<string, string> = {},
  body = `{"n":"${id}"}`,
) {
  const headers = {
    ...{ "content-type": "application/json", "ce-specversion": "1.0", "ce-source": "shop" },
    ...{ "ce-type": "order.paid", "ce-id": id, ...attributes },
  };
  return fetch(url, { method: "POST", headers, body });
}

test("a channel is made, tested, listed, paused, resumed, rotated and removed", async () => {
  const { id, url } = await openChannel();
  expect((await send(url, "o-1")).status).toBe(200);
  expect((await cli("channels", "test", id)).stdout).toMatch(/^stored as number 2, \d+ ms\n$/);
  expect((await cli("channels", "list")).stdout).toMatch(
    new RegExp(`^${id} +Shop +cloudevents +active +2$`, "m"),
  );
  expect(factsIn((await cli("channels", "pause", id)).stdout).get("state")).toBe("paused");
  expect(factsIn((await cli("channels", "resume", id)).stdout).get("state")).toBe("active");
  const rotated = await cli("channels", "rotate", id);
  expect(rotated.stderr).toBe("patchbay: give these to the sender; they are not shown again\n");
  expect((await send(url, "o-2")).status).toBe(404);
  expect((await send(factsIn(rotated.stdout).get("url")!, "o-2")).status).toBe(200);
  expect(await cli("channels", "rm", id)).toStrictEqual({ code: 0, stdout: "", stderr: "" });
  expect(await cli("channels", "get", id)).toMatchObject({ code: 1, stdout: "" });
});

test("a secret that the vendor shows is read from a file, and never shown", async () => {
  const file = join(folder.path, "secret");
  await writeFile(file, "whsec_dmVuZG9ycyBvd24gc2VjcmV0\n");
  const made = await cli("channels", "create", "Payments", "--from", "svix", "--secret-file", file);
  expect([made.code, [...factsIn(made.stdout).keys()]]).toStrictEqual([0, ["id", "url"]]);
  const id = factsIn(made.stdout).get("id")!;
  const rotated = await cli("channels", "rotate", id, "--secret-file", file, "--grace-seconds", "0");
  expect(rotated).toMatchObject({ code: 0, stdout: expect.not.stringContaining("whsec_") as string });
});

test("a channel that reads its source names a connection, and others do not", async () => {
  await service.org.client.connections.upsertServiceConnection({
    ...{ serviceSlug: "custom:feed", baseUrl: upstream.url, apiKey: "the-feeds-own-key" },
  });
  const args = ["--connection", "custom:feed", "--path", "/list"];
  const made = await cli("channels", "create", "Feed", "--from", "poll", "--items", "/data", ...args);
  expect(made).toMatchObject({ code: 0, stderr: "" });
  const { body } = await service.org.rest("GET", `/api/event-channels/${factsIn(made.stdout).get("id")}`);
  expect(body.data.channel).toMatchObject({ kind: "poll", poll: { path: "/list", items: "/data" } });
  expect((await cli("channels", "create", "Stream", "--from", "sse", ...args)).code).toBe(0);
  expect((await cli("channels", "create", "Stream", "--from", "sse")).stderr).toBe(
    "patchbay: --connection: name the connection through which the source is read\n",
  );
  expect((await cli("channels", "create", "Hook", "--from", "github", ...args)).stderr).toBe(
    "patchbay: --connection is for channels that read their source: --from sse, or --from poll\n",
  );
});

test("tail prints what is there and what comes, and ends with the number to go on with", async () => {
  const { id, url } = await openChannel();
  await send(url, "o-1", { "ce-subject": "order_1" });
  await send(url, "o-2", { "ce-type": "order.sent" });
  await using tail = patchbay(["events", "tail", id, "--from", "earliest", "--data"], { env: env() });
  await vi.waitFor(() => expect(tail.stdout()).toContain("o-2"), { timeout: 60_000 });
  await send(url, "o-3");
  await vi.waitFor(() => expect(tail.stdout()).toContain("o-3"), { timeout: 60_000 });
  const { code, stdout, stderr } = await tail.kill("SIGINT");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "patchbay: go on with --from 3\n" });
  expect(stdout.replaceAll(/^\S+Z/gm, "AT")).toBe(
    [
      `AT  ${id} 1  order.paid  order_1\n  {"n":"o-1"}\n`,
      `AT  ${id} 2  order.sent\n  {"n":"o-2"}\n`,
      `AT  ${id} 3  order.paid\n  {"n":"o-3"}\n`,
    ].join(""),
  );

  const args = ["events", "tail", id, "--from", "1", "--types", "order.paid", "--json"];
  await using rest = patchbay(args, { env: env() });
  await vi.waitFor(() => expect(rest.stdout()).toMatch(/\n$/), { timeout: 60_000 });
  const { stdout: lines } = await rest.kill("SIGINT");
  expect(JSON.parse(lines)).toMatchObject({ log: id, seq: "3", id: "o-3", type: "order.paid" });
});

test("tail ends when whoever reads it has enough", async () => {
  const { id, url } = await openChannel();
  for (const event of ["o-1", "o-2", "o-3"]) await send(url, event);
  const tail = `node_modules/.bin/node src/main.ts events tail ${id} --from earliest`;
  await using piped = patchbay(["-c", `${tail} | head -n 1`], { command: ["/bin/sh"], env: env() });
  // Each further line is written to a pipe that nobody reads.
  await vi.waitFor(
    async () => {
      await send(url, crypto.randomUUID());
      const ended = await Promise.race([piped.ended, Promise.resolve(undefined)]);
      expect(ended?.stdout).toMatch(/ 1 {2}order\.paid\n$/);
    },
    { timeout: 60_000 },
  );
});

test("what a stranger sent cannot command a terminal, nor look like another event", async () => {
  const { id, url } = await openChannel();
  await send(url, "o-1", { "ce-subject": "%E2%80%AEowned" }, '{"a":1}\r\n2026  fake 9  order.paid');
  await send(url, "o-2", {}, "\u001b[2J");
  await using tail = patchbay(["events", "tail", id, "--from", "earliest", "--data"], { env: env() });
  await vi.waitFor(() => expect(tail.stdout()).toMatch(/ 2 {2}.*\n.*\n/), { timeout: 60_000 });
  const { stdout } = await tail.kill("SIGTERM");
  expect(stdout).not.toMatch(/[^\P{C}\n]/u);
  expect(stdout.split("\n").filter((line) => /^\S/.test(line))).toHaveLength(2);
});

test("a place to go on from names its log if there are several", async () => {
  const tail = await cli("events", "tail", "audit", "service", "--from", "7");
  expect(tail).toStrictEqual({
    code: 1,
    stdout: "",
    stderr: "patchbay: --from: name the log of each number, such as audit:42,service:7\n",
  });
});

test("an endpoint is registered, tested, changed and sent an event again", async () => {
  const { id: channel, url } = await openChannel();
  const types = `channel:${channel}/*`;
  const made = factsIn((await cli("webhooks", "create", `${upstream.url}/hook`, "--types", types)).stdout);
  const id = made.get("id")!;
  expect(made.get("secret")).toMatch(/^whsec_/);
  expect((await cli("webhooks", "test", id)).stdout).toMatch(/^ok, \d+ ms\n$/);
  upstream.answer({ status: 500 });
  expect(await cli("webhooks", "test", id)).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/^failed: 500, \d+ ms\n$/) as string,
  });
  upstream.answer({});
  const changed = await cli("webhooks", "types", id, `${types},api_key.revoked`);
  expect(factsIn(changed.stdout).get("types")).toBe(`${types}, api_key.revoked`);

  await send(url, "o-1");
  await service.app.loops.webhooks.runOnce();
  expect(await cli("webhooks", "redeliver", id, channel, "1")).toStrictEqual({
    code: 0,
    stdout: "",
    stderr: "",
  });
  await service.app.loops.webhooks.runOnce();
  const sent = upstream.asked.filter(({ body }) => body.includes("o-1"));
  expect(sent.map(({ headers }) => headers["x-qe-redelivery"])).toStrictEqual([undefined, "true"]);
});
