import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { vi } from "vitest";
import { freePort, isListening } from "../support/ports.ts";

/** nginx as the page about proxies has it, in front of a service. */
export interface Nginx extends AsyncDisposable {
  readonly url: string;
}

// Debian puts it where only root's PATH leads.
const program = ["nginx", "/usr/sbin/nginx"].find((name) => spawnSync(name, ["-v"]).status === 0);

/** Why tests that need it cannot run; undefined if they can. */
export const missingNginx = program === undefined ? "no nginx: apt-get install nginx-light" : undefined;

/** Starts it with the configuration of the page, for other addresses and the certificate of the tests. */
export async function startNginx(serviceUrl: string): Promise<Nginx> {
  if (program === undefined) throw new Error(missingNginx);
  const folder = await mkdtemp(join(tmpdir(), "patchbay-nginx-"));
  const port = await freePort();
  const pem = (name: string) => join(import.meta.dirname, `../net/test-only.${name}.pem`);
  const page = await readFile(join(import.meta.dirname, "../../docs/behind-a-proxy.md"), "utf8");
  const [, ofPage = ""] = /^```nginx\n(.*?)^```$/ms.exec(page) ?? [];
  const configuration = ofPage
    .replaceAll("127.0.0.1:7420", new URL(serviceUrl).host)
    .replace("listen 443", `listen 127.0.0.1:${port}`)
    .replace("/etc/ssl/patchbay.pem", pem("cert"))
    .replace("/etc/ssl/patchbay.key", pem("key"));
  const temporary = ["client_body", "proxy", "fastcgi", "scgi", "uwsgi"]
    .map((name) => `${name}_temp_path ${folder}/${name};`)
    .join(" ");
  await writeFile(
    join(folder, "nginx.conf"),
    `daemon off; master_process off; pid ${folder}/pid; events {}
     http { access_log off; ${temporary}\n${configuration} }`,
  );

  const nginx = spawn(program, ["-p", folder, "-e", "stderr", "-c", "nginx.conf"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  nginx.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  const ended = once(nginx, "exit");
  const started = vi.waitUntil(() => isListening(port), { timeout: 60_000 });
  await Promise.race([started, ended.then(() => Promise.reject(new Error(`nginx did not start:\n${said}`)))]);
  return {
    url: `https://localhost:${port}`,
    async [Symbol.asyncDispose]() {
      nginx.kill("SIGKILL");
      await ended;
      await rm(folder, { recursive: true });
    },
  };
}
