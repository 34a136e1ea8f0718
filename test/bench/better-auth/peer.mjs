import { apiKey } from "@better-auth/api-key";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { randomBytes } from "node:crypto";
import { createInterface } from "node:readline";
import pg from "pg";
import { rateOf } from "../rate.ts";

// Not TypeScript: its types are there only once this folder is installed, and the checks run without it.

// What a key may do, and what it is asked for.
const permissions = { customers: ["view"] };
// Counted, as Patchbay counts, and never reached.
const rateLimit = { enabled: true, timeWindow: 60_000, maxRequests: 1e9 };

/** The ways in which its documentation offers to keep keys, from the default to the fastest. */
const modes = {
  postgres: { rateLimit },
  deferred: { rateLimit, deferUpdates: true },
  map: { rateLimit, deferUpdates: true, storage: "secondary-storage", customStorage: mapStorage() },
};

function mapStorage() {
  const values = new Map();
  return {
    get: (key) => values.get(key) ?? null,
    set: (key, value) => void values.set(key, value),
    delete: (key) => void values.delete(key),
  };
}

const [url, mode, callers] = process.argv.slice(2);
const pool = new pg.Pool({ connectionString: url });
const options = {
  database: pool,
  baseURL: "http://localhost",
  secret: randomBytes(32).toString("hex"),
  telemetry: { enabled: false },
  advanced: { backgroundTasks: { handler: (promise) => void promise } },
  plugins: [apiKey(modes[mode])],
};
// Before the rest, which complains about tables that are missing.
await (await getMigrations(options)).runMigrations();
const auth = betterAuth(options);

const { internalAdapter } = await auth.$context;
const owner = await internalAdapter.createUser({ name: mode, email: `${mode}@example.com` });
const keys = [];
for (let caller = 0; caller < Number(callers); caller++) {
  const created = await auth.api.createApiKey({ body: { userId: owner.id, permissions } });
  keys.push(created.key);
}

async function verify(key) {
  const { valid, error } = await auth.api.verifyApiKey({ body: { key, permissions } });
  if (!valid) throw new Error(`better-auth refused its own key: ${JSON.stringify(error)}`);
}

// Each line asks for one round of so many seconds; warmed up code and connections stay for the next.
for await (const seconds of createInterface({ input: process.stdin })) {
  const perSecond = await rateOf(keys, verify, Number(seconds));
  console.log(JSON.stringify({ mode, callers: keys.length, seconds: Number(seconds), perSecond }));
}
await pool.end();
