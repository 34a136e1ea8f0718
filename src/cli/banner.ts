import { relative } from "node:path";
import type { Config } from "#src/config/config.ts";
import { demoSlug, type StartedDemo } from "./demo.ts";
import type { Founding } from "./found-organization.ts";
import { rootKeyFileOf } from "./root-key.ts";

/** What a start shows the operator: where things are, and on the first start what to try. */
export function banner(facts: {
  config: Config;
  address: { host: string; port: number };
  rootKeyCreated: boolean;
  /** Only on the first start. */
  founding: Founding | undefined;
  /** Where the admin key is, if it is not to be shown. */
  adminKeyFile: string | undefined;
  demo: StartedDemo | undefined;
}): string {
  const { config, address, founding, adminKeyFile, demo } = facts;
  const url = urlOf(config, address);
  const lines = [
    row("database", databaseLine(config)),
    row("root key", rootKeyLine(config, facts.rootKeyCreated)),
    row("outbound", outboundLine(config)),
    ...(demo === undefined
      ? []
      : [row("demo", `${demoSlug}, in process, wants a Bearer token, ${demo.baseUrl}`)]),
    row("environment", config.environment),
    row("listening", url),
  ];
  if (founding !== undefined) {
    const shownKey = adminKeyFile === undefined ? founding.secret : `$(cat ${quoted(adminKeyFile)})`;
    const key = adminKeyFile === undefined ? `${founding.secret}   shown once` : `in ${adminKeyFile}, 0600`;
    lines.push("", row("Admin key", key), "", "  Try it:", ...(demo ? callDemo : whoAmI)(url, shownKey));
    if (demo?.channelId !== undefined)
      lines.push("", "  Send an event, and see that it came:", ...sendEvent(url, shownKey, demo.channelId));
  }
  return `${lines.join("\n")}\n\n`;
}

function row(name: string, text: string): string {
  return `  ${name.padEnd(13)}${text}`;
}

function databaseLine(config: Config): string {
  if (config.databaseUrl !== undefined) return "external (DATABASE_URL)";
  return `embedded, ${shown(config.dataDir)} (set DATABASE_URL to use your own)`;
}

function rootKeyLine(config: Config, created: boolean): string {
  if (config.rootKey !== undefined) return "from PATCHBAY_ROOT_KEY";
  if (config.rootKeyUrl !== undefined) return "from PATCHBAY_ROOT_KEY_URL";
  const file = shown(rootKeyFileOf(config));
  return created ? `created, 0600, ${file} (keep a copy: without it the data cannot be opened)` : file;
}

function outboundLine({ outboundAllow }: Config): string {
  return outboundAllow === "" ? "public addresses only" : `public addresses, and ${outboundAllow}`;
}

function urlOf({ tlsCert }: Config, { host, port }: { host: string; port: number }): string {
  const everywhere: Record<string, string> = { "0.0.0.0": "127.0.0.1", "::": "[::1]" };
  const reachable = everywhere[host] ?? (host.includes(":") ? `[${host}]` : host);
  return `${tlsCert === undefined ? "http" : "https"}://${reachable}:${port}`;
}

// Without curl's --json, which is newer than what some systems have.
function callDemo(url: string, key: string): string[] {
  return [
    `  curl ${url}/api/service-calls -H "Authorization: Bearer ${key}" \\`,
    `    -H 'content-type: application/json' -d '{"service":"${demoSlug}","method":"GET","path":"/hello"}'`,
  ];
}

function sendEvent(url: string, key: string, channelId: string): string[] {
  return [
    `  curl ${url}/in/${channelId} -H "Authorization: Bearer ${key}" \\`,
    `    -H 'content-type: application/json' -d '{"type":"order.paid","amount":1250}'`,
    `  curl '${url}/api/events?log=${channelId}' -H "Authorization: Bearer ${key}"`,
  ];
}

function whoAmI(url: string, key: string): string[] {
  return [`  curl ${url}/api/auth/me -H "Authorization: Bearer ${key}"`];
}

/** Paths below the current folder as people write them. */
function shown(path: string): string {
  const short = relative(process.cwd(), path);
  return short === "" || short.startsWith("..") ? path : `./${short}`;
}

function quoted(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}
