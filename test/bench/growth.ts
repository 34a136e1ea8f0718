import { openConnection } from "#src/db/connection.ts";
import { httpAsker } from "./askers.ts";
import { printFigures } from "./figures.ts";
import type { Options } from "./options.ts";
import { connectUpstream, startBenchPostgres, upstreamSlug } from "./patchbay.ts";
import { chosen, measure, type Cell } from "./rounds.ts";
import { startServer, type Server } from "./server.ts";

const sizes = [1, 100, 10_000];
const crowds = [1, 16, 256];

/**
 * What a call costs with more and more keys and connections stored, and with more and more callers at once: the
 * ratios show whether the cost stays flat.
 */
export async function run(options: Options): Promise<void> {
  await using postgres = await startBenchPostgres();
  await using servers = new AsyncDisposableStack();
  const upstream = servers.use(await startServer("upstream"));
  const cells: Cell[] = [];
  for (const size of sizes) {
    const { apiKey, databaseUrl, start } = await postgres.found(`growth_${size}`);
    const patchbay = servers.use(await start());
    await connectUpstream(patchbay, apiKey, upstream);
    await fill(databaseUrl, size);
    for (const callers of crowds) cells.push(...cellsOf(patchbay, apiKey, size, callers));
  }
  printFigures(await measure(chosen(cells, options.only), options));
}

function cellsOf(server: Server, apiKey: string, size: number, callers: number): Cell[] {
  const asks = {
    VerifyKey: httpAsker(server.port, "/api/api-keys/verify", apiKey, {
      key: apiKey,
      scopes: ["connections:view"],
    }),
    CallService: httpAsker(server.port, "/api/service-calls", apiKey, {
      service: upstreamSlug,
      method: "GET",
      path: "/small",
    }),
  };
  return Object.entries(asks).map(([name, ask]) => ({
    name: nameOf(name, size, callers),
    server,
    ask,
    callers,
    // With the smallest store at the same crowd, and there with the usual crowd.
    beside: size > 1 ? [nameOf(name, 1, callers)] : callers === 16 ? [] : [nameOf(name, 1, 16)],
  }));
}

function nameOf(call: string, size: number, callers: number): string {
  return `${call}, ${size.toLocaleString("en")} stored, ${callers} at once`;
}

/** Stores copies of the organisation's key and connection, until there are that many of each. */
async function fill(databaseUrl: string, size: number): Promise<void> {
  await using owner = openConnection(databaseUrl, {});
  const copies = [
    `insert into api_keys (org_id, id, name, environment, scopes, created_at)
     select org_id, id || n, name, environment, scopes, created_at from api_keys, generate_series(2, $1::int) n`,
    `insert into api_key_secrets (secret_hash, org_id, key_id, hint, created_at)
     select sha256(k.id::bytea), k.org_id, k.id, s.hint, s.created_at
     from api_key_secrets s join api_keys k on k.org_id = s.org_id and k.id <> s.key_id
     where $1::int > 1`,
    `insert into connections (org_id, id, environment, slug, base_url, active, created_at)
     select org_id, id || n, environment, slug || n, base_url, active, created_at
     from connections, generate_series(2, $1::int) n`,
    `insert into credentials (org_id, connection_id, bound_to, version, kek_version, sealed, fingerprint)
     select c.org_id, c.id, k.bound_to, k.version, k.kek_version, k.sealed, k.fingerprint
     from credentials k join connections c on c.org_id = k.org_id and c.id <> k.connection_id
     where $1::int > 1`,
  ];
  for (const copy of copies) await owner.run(copy, [size]);
  for (const table of ["api_keys", "api_key_secrets", "connections", "credentials"]) {
    await owner.run(`analyze ${table}`);
  }
}
