import { build } from "esbuild";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import type { PageTask } from "./page.ts";

/** Debian's. */
const chromium = "/usr/bin/chromium";

export function hasBrowser(): Promise<boolean> {
  return access(chromium).then(
    () => true,
    () => false,
  );
}

/** A site of one page, `page.ts`, on an origin of its own. */
export interface Site extends AsyncDisposable {
  readonly origin: string;
  /** What the page does its work with. */
  task: PageTask | undefined;
  /** What the page says how it went. */
  readonly result: Promise<Record<string, unknown>>;
}

/** The page's code as a browser takes it. */
export async function bundlePage(): Promise<Uint8Array> {
  const { outputFiles } = await build({
    entryPoints: [join(import.meta.dirname, "page.ts")],
    bundle: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    write: false,
  });
  return outputFiles[0]!.contents;
}

/** Serves the page, with one of another site in a frame of it if there is one. */
export async function startSite(script: Uint8Array, framed?: Site): Promise<Site> {
  const frame = framed === undefined ? "" : `<iframe src="${framed.origin}"></iframe>`;
  const result = Promise.withResolvers<Record<string, unknown>>();
  const server = createServer((request, response) => {
    switch (request.url) {
      case "/page.js":
        response.setHeader("content-type", "text/javascript").end(script);
        break;
      case "/task":
        response.end(JSON.stringify(site.task));
        break;
      case "/result":
        response.end();
        json(request).then((told) => result.resolve(told as Record<string, unknown>), result.reject);
        break;
      default:
        response
          .setHeader("content-type", "text/html")
          .end(`<script type="module" src="/page.js"></script>${frame}`);
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const site: Site = {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    task: undefined,
    result: result.promise,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return site;
}

/** Opens a page in a browser without a window until the page has told what it has to tell. */
export async function browse<T>(url: string, told: Promise<T>): Promise<T> {
  const profile = await mkdtemp(join(tmpdir(), "patchbay-browser-"));
  const quiet = [
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ];
  const confined = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic"];
  const args = ["--headless", ...confined, ...quiet, `--user-data-dir=${profile}`, url];
  const browser = spawn(chromium, args, { stdio: "ignore" });
  const ended = once(browser, "exit");
  const crashed = ended.then(([status]) => {
    throw new Error(`the browser ended by itself with status ${status}`);
  });
  try {
    return await Promise.race([told, crashed]);
  } finally {
    browser.kill();
    await ended;
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
