import { Agent } from "node:http";
import { openConnection, type Connection } from "#src/db/connection.ts";
import { httpAsker, inTurn, type Ask } from "./askers.ts";
import { printFigures } from "./figures.ts";
import type { Options } from "./options.ts";
import { connectUpstream, startBenchPostgres, upstreamSlug } from "./patchbay.ts";
import { chosen, measure, type Cell } from "./rounds.ts";
import { startServer, type Server } from "./server.ts";

const sizes = [1_000, 100_000] as const;
const [smallest] = sizes;
const crowds = [1, 16, 256];
const usualCrowd = 16;

/** The connections that are called through. The rest are copies of the first, which nothing can open. */
const slugs = Array.from({ length: 500 }, (_, index) => `${upstreamSlug}-${index}`);
const firstSlug = `${upstreamSlug}-0`;
const registering = 16;

/**
 * What a call costs with more and more keys and connections stored, and with more and more callers at once: the
 * ratios show whether the cost stays flat. Warm calls are answered from memory, all about one key or connection; cold
 * ones ask the database each time.
 */
export async function run(options: Options): Promise<void> {
  await using postgres = await startBenchPostgres();
  await using used = new AsyncDisposableStack();
  const upstream = used.use(await startServer("upstream"));
  const cells: Cell[] = [];
  for (const size of sizes) {
    const { apiKey, databaseUrl, start } = await postgres.found(`growth_${size}`);
    const patchbay = used.use(await start());
    const owner = used.use(openConnection(databaseUrl, {}));
    await register(patchbay, apiKey, upstream);
    await fill(owner, size);
    const calls = callsOf(patchbay, apiKey, owner);
    for (const callers of crowds) {
      for (const { name, ask, warmName } of calls) {
        const beside = besideOf(name, warmName, size, callers);
        cells.push({ name: nameOf(name, size, callers), server: patchbay, ask, callers, beside });
      }
    }
  }
  printFigures(await measure(chosen(cells, options.only), options));
}

/** Something that is asked, with any size and crowd. */
interface Call {
  readonly name: string;
  readonly ask: Ask;
  /** Of a cold call, the warm one. */
  readonly warmName?: string;
}

function callsOf({ port }: Server, apiKey: string, owner: Connection): Call[] {
  const agent = new Agent({ keepAlive: true });
  const verify = (more: object) =>
    httpAsker(
      port,
      "/api/api-keys/verify",
      apiKey,
      { key: apiKey, scopes: ["connections:view"], ...more },
      agent,
    );
  const callThrough = (service: string) =>
    httpAsker(port, "/api/service-calls", apiKey, { service, method: "GET", path: "/small" }, agent);
  // Announces, as each change of the key does, that what it sealed is to be read again.
  const forget = () => owner.run("update org_keys set version = version");
  return [
    { name: "VerifyKey warm", ask: verify({}) },
    {
      name: "VerifyKey cold",
      ask: verify({ consistency: "CONSISTENCY_STRONG" }),
      warmName: "VerifyKey warm",
    },
    { name: "CallService warm", ask: callThrough(firstSlug) },
    {
      name: "CallService cold",
      ask: inTurn(slugs.map(callThrough), forget),
      warmName: "CallService warm",
    },
  ];
}

/** With the smallest store at the same crowd, there with the usual crowd, and there, if it is cold, with the warm one. */
function besideOf(name: string, warmName: string | undefined, size: number, callers: number): string[] {
  if (size !== smallest) return [nameOf(name, smallest, callers)];
  if (callers !== usualCrowd) return [nameOf(name, smallest, usualCrowd)];
  return warmName === undefined ? [] : [nameOf(warmName, smallest, usualCrowd)];
}

function nameOf(call: string, size: number, callers: number): string {
  return `${call}, ${size.toLocaleString("en")} stored, ${callers} at once`;
}

async function register(patchbay: Server, apiKey: string, upstream: Server): Promise<void> {
  const left = slugs.values();
  async function registerNext(): Promise<void> {
    for (const slug of left) await connectUpstream(patchbay, apiKey, upstream, slug);
  }
  await Promise.all(Array.from({ length: registering }, registerNext));
}

/** Stores copies of the organisation's key and of its first connection, until there are that many keys and connections. */
async function fill(owner: Connection, size: number): Promise<void> {
  await owner.run(
    `insert into api_keys (org_id, id, name, environment, scopes, created_at)
     select org_id, id || n, name, environment, scopes, created_at from api_keys, generate_series(2, $1::int) n`,
    [size],
  );
  await owner.run(
    `insert into api_key_secrets (secret_hash, org_id, key_id, hint, created_at)
     select sha256(k.id::bytea), k.org_id, k.id, s.hint, s.created_at
     from api_key_secrets s join api_keys k on k.org_id = s.org_id and k.id <> s.key_id`,
  );
  await owner.run(
    `insert into connections (org_id, id, environment, slug, base_url, active, created_at, integration)
     select org_id, id || '-' || n, environment, slug || '-' || n, base_url, active, created_at, integration
     from connections, generate_series($1::int + 1, $2::int) n where slug = $3`,
    [slugs.length, size, firstSlug],
  );
  await owner.run(
    `insert into credentials (org_id, connection_id, bound_to, version, kek_version, sealed, fingerprint)
     select c.org_id, c.id, k.bound_to, k.version, k.kek_version, k.sealed, k.fingerprint
     from connections c join credentials k on k.org_id = c.org_id and c.id like k.connection_id || '-%'`,
  );
  for (const table of ["api_keys", "api_key_secrets", "connections", "credentials"]) {
    await owner.run(`analyze ${table}`);
  }
}
