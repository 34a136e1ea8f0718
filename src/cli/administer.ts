import { detailsOf, newApiKey } from "#src/api-keys/new-api-key.ts";
import { scopesProblem } from "#src/api-keys/scopes.ts";
import { insertKey } from "#src/api-keys/store.ts";
import { append } from "#src/audit/append.ts";
import type { Config } from "#src/config/config.ts";
import { loadPepper } from "#src/crypto/service-keys.ts";
import { openConnection } from "#src/db/connection.ts";
import { displayNameRule, isDisplayName } from "#src/platform/display-name.ts";
import { foundOrganization } from "./found-organization.ts";
import { createLog, fileDescriptor } from "./log.ts";
import { joinPostgres } from "./postgres.ts";
import { requireData } from "./root-key.ts";
import { openRuntime, type Runtime } from "./runtime.ts";

/** `patchbay org create`: the ids go to stderr for people, the secret to stdout for the next program. */
export async function createOrganization(config: Config, name: string): Promise<void> {
  requireName("<name>", name);
  await using runtime = await openOrMake(config);
  const { admin, secret } = await foundOrganization(runtime, config.environment, name);
  process.stderr.write(`organisation ${admin.orgId}, admin key ${admin.via.id}; its secret, shown once:\n`);
  process.stdout.write(`${secret}\n`);
}

/** What the operator decides about a key. */
interface WantedKey {
  readonly orgId: string | undefined;
  readonly name: string;
  readonly scopes: readonly string[];
}

/** `patchbay keys create`: for operators, who may give any scope; also the way back in when all keys are lost. */
export async function createKey(config: Config, { orgId: wanted, name, scopes }: WantedKey): Promise<void> {
  requireName("--name", name);
  requireScopes(scopes);
  await using runtime = await openStored(config);
  const { database, rootKey, secondRootKey } = runtime;
  const orgId = await findOrganizationId(runtime, wanted);
  const now = new Date();
  const pepper = await loadPepper(database, rootKey, () => now, secondRootKey);
  const { key, secret } = newApiKey({ orgId, name, environment: config.environment, scopes }, pepper, now);
  await database.change(orgId, async (tx) => {
    await insertKey(tx, key);
    await append(tx, "service", { action: "api_key.create", target: key.id, details: detailsOf(key) });
  });
  process.stderr.write(`api key ${key.id} of ${orgId}; its secret, shown once:\n`);
  process.stdout.write(`${secret}\n`);
}

/** What is there, which a command about organisations needs. */
export async function openStored(config: Config): Promise<Runtime> {
  await requireData(config);
  return openOrMake(config);
}

/** Beside a running service if there is one. The log goes to stderr: stdout is for the secret alone. */
function openOrMake(config: Config): Promise<Runtime> {
  const log = createLog("warn", fileDescriptor(2));
  return openRuntime(config, log, () => joinPostgres(config, log));
}

/** The organisation that is meant: the given one, or the only one. Asked as owner: no other role sees all. */
export async function findOrganizationId({ ownerUrl }: Runtime, wanted: string | undefined): Promise<string> {
  await using owner = openConnection(ownerUrl, { application_name: "patchbay" });
  const rows = await owner.run("select id, name from orgs where shredded_at is null order by id");
  const orgs = rows.map((row) => ({ id: String(row["id"]), name: String(row["name"]) }));
  const [found, another] = wanted === undefined ? orgs : orgs.filter(({ id }) => id === wanted);
  if (found !== undefined && another === undefined) return found.id;
  if (orgs.length === 0) throw new Error("there is no organisation yet: make one with `patchbay org create`");
  const list = orgs.map(({ id, name }) => `\n  ${id}  ${name}`).join("");
  throw new Error(`--org: ${wanted === undefined ? "needed" : `there is no ${wanted}`}; give one of${list}`);
}

function requireName(parameter: string, name: string): void {
  if (name.trim() === "" || Array.from(name).length > 200) {
    throw new Error(`${parameter}: give 1 to 200 characters`);
  }
  if (!isDisplayName(name)) throw new Error(`${parameter}: ${displayNameRule}`);
}

function requireScopes(scopes: readonly string[]): void {
  const problem = scopesProblem(scopes);
  if (problem !== undefined) throw new Error(`--scopes: ${problem}`);
}
