import { create, toJson, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import {
  ConnectionSchema,
  ListAllConnectionsResponseSchema,
  TestConnectionResponseSchema,
  type Connection,
  type PatchbayClient,
} from "#src/client/node.ts";
import { ask, contentOf } from "./remote.ts";
import type { Shown } from "./remote-commands.ts";
import { table } from "./table.ts";

/** Prints the connections, oldest first. */
export async function listConnections(flags: Shown): Promise<void> {
  const connections = await ask(flags, allConnections);
  if (flags.json) return printJson(ListAllConnectionsResponseSchema, { connections });
  const rows = connections.map((one) => [
    nameOf(one),
    one.id,
    one.authMethod,
    one.baseUrl,
    stateOf(one),
    timeText(one.lastUsedAt),
  ]);
  process.stdout.write(table(["NAME", "ID", "AUTH", "BASE URL", "STATE", "LAST USED"], rows));
}

/** Prints one connection. */
export async function showConnection(ref: string, flags: Shown): Promise<void> {
  show(await ask(flags, (client) => find(client, ref)), flags);
}

/** Registers a connection, or gives the one with the slug another base URL and credential. */
export async function putConnection(
  serviceSlug: string,
  flags: Shown & { baseUrl: string; apiKeyFile?: string; scopes?: string },
): Promise<void> {
  const apiKey = flags.apiKeyFile && (await contentOf(flags.apiKeyFile)).toString().trim();
  const scopes = flags.scopes?.split(",").map((scope) => scope.trim()) ?? [];
  const wanted = { serviceSlug, baseUrl: flags.baseUrl, scopes, ...(apiKey !== undefined && { apiKey }) };
  const stored = await ask(flags, async (client) => {
    const { connection } = await client.connections.upsertServiceConnection(wanted);
    const { apiKeyHash, id = "" } = connection ?? {};
    return { ...(await find(client, id)), ...(apiKeyHash !== undefined && { apiKeyHash }) };
  });
  show(stored, flags);
}

/** Tests a connection; false if its service gave no sign of life. */
export async function testConnection(ref: string, flags: Shown): Promise<boolean> {
  const result = await ask(flags, async (client) =>
    client.connections.testConnection({ id: (await find(client, ref)).id }),
  );
  if (flags.json) printJson(TestConnectionResponseSchema, result);
  else
    process.stdout.write(result.ok ? `ok, ${result.latencyMs ?? 0} ms\n` : `failed: ${result.error ?? ""}\n`);
  return result.ok;
}

/** Deletes a connection, and says which one it was. */
export async function removeConnection(ref: string, flags: Shown): Promise<void> {
  const removed = await ask(flags, async (client) => {
    const connection = await find(client, ref);
    await client.connections.deleteConnection({ id: connection.id });
    return connection;
  });
  if (flags.json) printJson(ConnectionSchema, removed);
  else process.stdout.write(`deleted ${nameOf(removed)} (${removed.id})\n`);
}

async function allConnections({ connections }: PatchbayClient): Promise<Connection[]> {
  const found: Connection[] = [];
  for (let pageToken: string | undefined = ""; pageToken !== undefined;) {
    const page = await connections.listAllConnections({ pageToken });
    found.push(...page.connections);
    pageToken = page.nextPageToken;
  }
  return found;
}

/** The connection that has the id or the slug. */
async function find(client: PatchbayClient, ref: string): Promise<Connection> {
  if (ref.startsWith("scn_")) {
    const { connection } = await client.connections.getConnection({ id: ref });
    if (connection !== undefined) return connection;
  }
  const found = (await allConnections(client)).find(({ serviceSlug }) => serviceSlug === ref);
  if (found === undefined)
    throw new Error(`no connection ${ref}; patchbay connections list shows those there are`);
  return found;
}

function show(connection: Connection, { json }: Shown): void {
  if (json) return printJson(ConnectionSchema, connection);
  const { id, baseUrl, apiKeyHash, createdAt, lastUsedAt, lastHealthyAt, lastError } = connection;
  const facts = Object.entries({
    id,
    name: nameOf(connection),
    service: connection.integration,
    auth: connection.authMethod,
    "base url": baseUrl,
    state: stateOf(connection),
    ...(apiKeyHash !== undefined && { "api key": apiKeyHash }),
    created: timeText(createdAt),
    healthy: timeText(lastHealthyAt),
    used: timeText(lastUsedAt),
    ...(lastError && { error: lastError.message }),
  });
  process.stdout.write(facts.map(([name, fact]) => `${name.padEnd(10)}${fact}\n`).join(""));
}

/** What its organisation calls it by. */
function nameOf({ serviceSlug, name, integration }: Connection): string {
  return serviceSlug ?? name ?? integration;
}

function stateOf({ active, status, unhealthy }: Connection): string {
  if (!active) return "inactive";
  if (status !== "ACTIVE") return status.toLowerCase().replaceAll("_", " ");
  return unhealthy === true ? "unhealthy" : "active";
}

function timeText(time: Timestamp | undefined): string {
  return time === undefined ? "never" : timestampDate(time).toISOString();
}

/** As it is over REST, where a field without a value of its own is there as well. */
function printJson<Desc extends DescMessage>(schema: Desc, message: MessageInitShape<Desc>): void {
  const json = toJson(schema, create(schema, message), { alwaysEmitImplicit: true });
  process.stdout.write(`${JSON.stringify(json, null, 2)}\n`);
}
