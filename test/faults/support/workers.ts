import { once } from "node:events";
import { readFile } from "node:fs/promises";
import http from "node:http";
import https from "node:https";
import { join } from "node:path";
import { expect, vi } from "vitest";
import { patchbay, type Patchbay, type RunOptions } from "../../cli/patchbay.ts";
import { presenter, type Presenter } from "../../support/service.ts";

/** A service of several processes. */
export interface Workers extends AsyncDisposable {
  readonly service: Patchbay;
  readonly url: string;
  readonly admin: Presenter;
  /** The lines of its log that have this message. */
  logged(message: string): LogLine[];
  /** The workers that have said that they are ready, in the order in which they did; those that ended as well. */
  ready(): { readonly worker: number; readonly pid: number }[];
  /** Waits for that many of them, over all. */
  untilReady(count: number): Promise<void>;
  /** A connection of its own, and so to one worker as long as that lives. */
  line(): Line;
  /** The value of a metric, labels included. */
  metric(name: string): Promise<number | undefined>;
}

/** One line of the log. */
export type LogLine = Readonly<Record<string, unknown>>;

/** One connection of a client, kept open between its calls; `from` is its address, if the service believes a proxy. */
export interface Line extends Disposable {
  call(
    method: string,
    path: string,
    call?: { secret?: string; body?: unknown; from?: string },
  ): Promise<LineReply>;
}

/** What a call over a line was answered, and by which worker. */
export interface LineReply {
  readonly status: number;
  readonly body: string;
  readonly worker: number;
}

/** Starts the real program with two workers, or as many as the flags say. */
export async function startWorkers(
  dataDir: string,
  { env, flags = [] }: Pick<RunOptions, "env"> & { flags?: readonly string[] },
): Promise<Workers> {
  const args = ["start", "--workers", "2", "--port", "0", "--metrics-port", "0", "--data-dir", dataDir];
  const service = patchbay([...args, ...flags], { ...(env && { env }) });
  const url = await service.ready();
  const secret = (await readFile(join(dataDir, "admin-key"), "utf8")).trim();
  const lines = () =>
    service
      .stdout()
      .split("\n")
      .filter((line) => line.startsWith("{") && line.endsWith("}"))
      .map((line) => JSON.parse(line) as LogLine);
  const logged = (message: string) => lines().filter(({ msg }) => msg === message);
  const ready = () =>
    logged("worker ready").map(({ worker, pid }) => ({ worker: Number(worker), pid: Number(pid) }));

  async function answeredBy(requestId: string): Promise<number> {
    const find = () => lines().find((line) => line["requestId"] === requestId);
    await vi.waitUntil(find, { timeout: 50_000 });
    return Number(find()?.["worker"]);
  }

  function line(): Line {
    const client = url.startsWith("https") ? https : http;
    const agent = new client.Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false });
    return {
      async call(method, path, { secret: presented = secret, body, from } = {}) {
        const headers = {
          authorization: `Bearer ${presented}`,
          "content-type": "application/json",
          ...(from !== undefined && { "x-forwarded-for": from }),
        };
        const request = client.request(url + path, { method, agent, headers });
        request.end(body === undefined ? undefined : JSON.stringify(body));
        const [response] = (await once(request, "response")) as [http.IncomingMessage];
        const text = await response.setEncoding("utf8").reduce((all, chunk) => all + chunk, "");
        const worker = await answeredBy(String(response.headers["x-request-id"]));
        return { status: response.statusCode ?? 0, body: text, worker };
      },
      [Symbol.dispose]: () => agent.destroy(),
    };
  }

  return {
    service,
    url,
    admin: presenter(url, secret),
    logged,
    ready,
    untilReady: (count) => vi.waitUntil(() => ready().length >= count, { timeout: 90_000 }).then(() => {}),
    line,
    async metric(name) {
      const [{ metricsPort } = {}] = logged("ready");
      const response = await fetch(`http://127.0.0.1:${String(metricsPort)}/metrics`);
      expect(response.status).toBe(200);
      const found = (await response.text()).split("\n").find((text) => text.startsWith(`${name} `));
      return found === undefined ? undefined : Number(found.slice(name.length));
    },
    [Symbol.asyncDispose]: () => service[Symbol.asyncDispose](),
  };
}

/** Two lines, of which each goes to another worker. */
export async function linesToBoth(workers: Workers): Promise<[Line, Line]> {
  const [one, other] = [workers.line(), workers.line()];
  const answered = [await one.call("GET", "/api/auth/me"), await other.call("GET", "/api/auth/me")];
  expect(new Set(answered.map(({ worker }) => worker)).size).toBe(2);
  return [one, other];
}
