import {
  ConnectionSchema,
  DeleteConnectionResponseSchema,
  ListAllConnectionsResponseSchema,
  StartAuthorizationResponseSchema,
  TestConnectionResponseSchema,
  type Connection,
  type PatchbayClient,
} from "#src/client/node.ts";
import { ask, contentOf } from "./remote.ts";
import { isBuiltIn, isCustom } from "#src/integrations/slug.ts";
import { present } from "#src/platform/present.ts";
import { pairIn } from "./pair.ts";
import { facts } from "./facts.ts";
import { printJson } from "./print.ts";
import type { PutFlags, Shown } from "./remote-commands.ts";
import { table } from "./table.ts";
import { timeText } from "./time-text.ts";

/** Prints the connections that the key may see, oldest first. */
export async function listConnections(flags: Shown): Promise<void> {
  const connections = await ask(flags, allConnections);
  if (flags.json) return printJson(ListAllConnectionsResponseSchema, { connections });
  const rows = connections.map((one) => [
    one.serviceSlug ?? "-",
    one.id,
    one.integration,
    one.baseUrl,
    stateOf(one),
    timeText(one.lastUsedAt),
  ]);
  process.stdout.write(table(["SLUG", "ID", "INTEGRATION", "BASE URL", "STATE", "LAST USED"], rows));
}

/** Prints one connection. */
export async function showConnection(ref: string, flags: Shown): Promise<void> {
  show(await ask(flags, (client) => find(client, ref)), flags);
}

/** Registers a connection, or gives the one with the slug another base URL and credential. */
export async function putConnection(service: string, flags: Shown & PutFlags): Promise<void> {
  const { baseUrl, auth, verify = false } = flags;
  const hasSlug = isBuiltIn(service) || isCustom(service);
  if (!hasSlug) requirePresetFlags(service, flags);
  const apiKey = flags.apiKeyFile && (await contentOf(flags.apiKeyFile)).toString().trim();
  const credentials = await secretsOf(flags.secret ?? []);
  const params = Object.fromEntries((flags.set ?? []).map((text) => pairIn("--set", text)));
  const put = async ({ connections }: PatchbayClient) => {
    if (!hasSlug) {
      const wanted = { integration: service, authMethod: auth ?? "", credentials, params, verify };
      return connections.createConnection({ ...wanted, ...(baseUrl !== undefined && { baseUrl }) });
    }
    const scopes = listOf(flags.scopes);
    return connections.upsertServiceConnection({
      ...{ serviceSlug: service, baseUrl: baseUrl ?? "", scopes, verify },
      ...(apiKey !== undefined && { apiKey }),
      ...(auth !== undefined && { auth: { authMethod: auth, credentials, params } }),
    });
  };
  const stored = await ask(flags, async (client) => {
    const { connection: made } = await put(client);
    // Only this answer has the hash of what was stored.
    const { id = "", apiKeyHash, credentialHash } = made ?? {};
    return {
      ...(await find(client, id)),
      ...(apiKeyHash && { apiKeyHash }),
      ...(credentialHash && { credentialHash }),
    };
  });
  show(stored, flags);
}

/** What is left out or has no meaning would otherwise be answered in words of the API, or not at all. */
function requirePresetFlags(service: string, { auth, apiKeyFile, scopes }: PutFlags): void {
  if (apiKeyFile !== undefined || scopes !== undefined) {
    throw new Error(
      `--api-key-file and --scopes are for built-in and custom services; ${service} takes --auth and --secret`,
    );
  }
  if (auth === undefined) {
    throw new Error(`--auth: name a way to sign in; patchbay integrations list shows those of ${service}`);
  }
}

/** Prints the link at which a person connects the service of a connection with OAuth 2.0. */
export async function authorizeConnection(
  ref: string,
  { returnTo, ...flags }: Shown & { scopes?: string; returnTo?: string },
): Promise<void> {
  const scopes = listOf(flags.scopes);
  const link = await ask(flags, async (client) => {
    const { id } = await find(client, ref);
    return client.connections.startAuthorization({ id, scopes, ...(returnTo !== undefined && { returnTo }) });
  });
  if (flags.json) return printJson(StartAuthorizationResponseSchema, link);
  const { url, userCode, expiresAt } = link;
  const code = userCode === undefined ? "" : `and type in  ${userCode}\n`;
  process.stdout.write(`open once     ${url}\n${code}until         ${timeText(expiresAt)}\n`);
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

/** Deletes a connection, and says which one it was, and what became of its tokens at the service. */
export async function removeConnection(ref: string, flags: Shown): Promise<void> {
  const { serviceSlug, integration, id, revocation } = await ask(flags, async (client) => {
    const connection = await find(client, ref);
    return { ...connection, ...(await client.connections.deleteConnection({ id: connection.id })) };
  });
  if (flags.json) return printJson(DeleteConnectionResponseSchema, present({ revocation }));
  const tokens = revocation === undefined ? "" : `, its tokens at the service: ${revocation}`;
  process.stdout.write(`deleted ${serviceSlug ?? integration} (${id})${tokens}\n`);
}

function listOf(text: string | undefined): string[] {
  return text?.split(",").map((one) => one.trim()) ?? [];
}

/** By its field's name; the file's last line break is none of a secret. */
async function secretsOf(texts: readonly string[]): Promise<Record<string, string>> {
  const secrets: Record<string, string> = {};
  for (const text of texts) {
    const [name, file] = pairIn("--secret", text);
    secrets[name] = (await contentOf(file)).toString().replace(/\r?\n$/, "");
  }
  return secrets;
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
  const { id, serviceSlug, integration, authMethod, name, tags, baseUrl, statusReason, lastError } =
    connection;
  const known = {
    id,
    slug: serviceSlug,
    integration,
    auth: authMethod,
    "base url": baseUrl,
    name,
    tags: tags.length > 0 ? tags.join(", ") : undefined,
    stored: connection.apiKeyHash ?? connection.credentialHash,
    state: stateOf(connection),
    because: statusReason,
    "last error": lastError && `${lastError.message}, ${timeText(lastError.at)}`,
    created: timeText(connection.createdAt),
    healthy: timeText(connection.lastHealthyAt),
    used: timeText(connection.lastUsedAt),
  };
  process.stdout.write(facts(known));
}

function stateOf({ active, status, unhealthy }: Connection): string {
  if (!active) return "inactive";
  if (status !== "ACTIVE") return status;
  return unhealthy === true ? "unhealthy" : "active";
}
