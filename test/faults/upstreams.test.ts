import { connect } from "node:net";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { startHanging, type HangingServer } from "../support/hanging.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { expectAllDelivered, expectNothingLost } from "./support/assess.ts";
import { startDeployment, type Deployment } from "./support/deployment.ts";
import { Refused, type Refusal } from "./support/failure.ts";
import { startLoad } from "./support/load.ts";
import { expectCleanAnswers, expectCleanLog } from "./support/words.ts";
import { ask } from "./support/writers.ts";

// Services that do not answer, beside those of the load, which do all the time.
const closing = new AsyncDisposableStack();
let deployment: Deployment;
let hanging: HangingServer;
let upstream: Upstream;
let wire: TcpProxy;
let silentWire: TcpProxy;
beforeAll(async () => {
  deployment = closing.use(await startDeployment());
  hanging = closing.use(await startHanging());
  upstream = closing.use(await startUpstream());
  const port = Number(new URL(upstream.url).port);
  wire = closing.use(await startTcpProxy(() => connect(port, "127.0.0.1")));
  silentWire = closing.use(await startTcpProxy(() => connect(port, "127.0.0.1")));
  silentWire.blackHole();
  await connectTo("wired", `http://127.0.0.1:${wire.port}`);
  await connectTo("silent", `http://127.0.0.1:${silentWire.port}`);
});
afterAll(() => closing.disposeAsync());

const connectTo = (name: string, baseUrl: string) =>
  ask(deployment, "POST", "/api/service-connections", {
    serviceSlug: `custom:${name}`,
    baseUrl,
    apiKey: `key-of-${name}`,
  });

/** Calls the service; its status, or why there is none. */
async function call(name: string, method = "GET"): Promise<string> {
  const body = { service: `custom:${name}`, method, path: "/" };
  try {
    const { data } = await ask(deployment, "POST", "/api/service-calls", body, { timeoutMs: 90_000 });
    return String(data.status);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    refusals.push({ reason: error.reason, text: error.message });
    return error.reason ?? "no reason";
  }
}

const refusals: Refusal[] = [];
const count = 100;
/** They end in the last test: a service is waited for as long as all others here take. */
let hung: Promise<string[]>;

test("while calls to a hundred services hang, all other calls and writes are served, and nothing is lost", async () => {
  const names = Array.from({ length: count }, (_, n) => `hanging-${n + 1}`);
  for (const [n, name] of names.entries()) await connectTo(name, hanging.url(n + 1));
  hung = Promise.all(["silent", ...names].map((name) => call(name)));
  await hanging.reached(count);
  await using load = await startLoad(deployment);
  await load.isServed(["connections", "keys", "calls", "events", "deliveries"]);
  await expectNothingLost(deployment, load);
  await expectAllDelivered(load);
  expectCleanAnswers(load, []);
  expectCleanLog(deployment, load);
});

test("a service behind a slow wire is answered for, and one whose wire is cut in the middle is not known to have answered", async () => {
  wire.delay(200);
  expect(await call("wired")).toBe("200");
  wire.delay(0);
  upstream.answer(() => new Promise(() => undefined));
  // One that is not safe to send again.
  const cut = call("wired", "POST");
  await vi.waitUntil(() => upstream.asked.some(({ method }) => method === "POST"), { timeout: 60_000 });
  wire.cut();
  expect(await cut).toBe("UPSTREAM_UNREACHABLE");
  await wire.close();
  expect(await call("wired")).toBe("UPSTREAM_UNREACHABLE");
  await wire.reopen();
  upstream.answer({});
  expect(await call("wired")).toBe("200");
});

test("a service that hangs, or whose wire is silent, has its caller told so in the end, in words of the service", async () => {
  expect(new Set(await hung)).toEqual(new Set(["UPSTREAM_TIMEOUT"]));
  const told = { journal: { refusals }, secrets: new Map<string, string>() };
  expectCleanAnswers(told, ["UPSTREAM_TIMEOUT", "UPSTREAM_UNREACHABLE"]);
  expectCleanLog(deployment, told);
});
