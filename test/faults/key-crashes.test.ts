import { afterAll, beforeAll, expect, test } from "vitest";
import { newRootKeyText } from "#src/crypto/root-key.ts";
import type { Database } from "#src/db/database.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { startService, type TestService } from "../support/service.ts";
import { fillVault, openVault, type Vault } from "../support/vault.ts";

let [rootKey, other] = [newRootKeyText(), newRootKeyText()];
let postgres: TestDatabase;
let service: TestService;
let orgId: string;
let secrets: ReadonlyMap<string, string>;
beforeAll(async () => {
  postgres = await createTestDatabase();
  service = await startService({ postgres, rootKey });
  ({ orgId } = service.org);
  await using vault = openVault(postgres, rootKey);
  await fillVault(vault, service.org, "http://127.0.0.1:1");
  secrets = await vault.secretsOf(orgId);
});
afterAll(async () => {
  for (const one of [service, postgres]) await one[Symbol.asyncDispose]();
});

class Died extends Error {}

/** A process that dies right before or right after this transaction of it, whose answer it then never hears. */
function dying(at: number, when: "before" | "after") {
  let transactions = 0;
  const step = async <T>(run: () => Promise<T>): Promise<T> => {
    transactions += 1;
    if (transactions > at || (transactions === at && when === "before")) throw new Died();
    const answer = await run();
    if (transactions === at) throw new Died();
    return answer;
  };
  return {
    isDead: () => transactions >= at,
    through: (database: Database): Database => ({
      ...database,
      read: (org, run) => step(() => database.read(org, run)),
      change: (org, run) => step(() => database.change(org, run)),
      record: (org, run) => step(() => database.record(org, run)),
      system: (run) => step(() => database.system(run)),
    }),
  };
}

/** Lets a process die before and after each transaction of the work, and another one do it then; answers how many. */
async function diesAtEach(
  work: (vault: Vault) => Promise<unknown>,
  holds: () => Promise<void>,
): Promise<number> {
  for (let at = 1; ; at++) {
    for (const when of ["before", "after"] as const) {
      const { through, isDead } = dying(at, when);
      await using process = openVault(postgres, rootKey, other, through);
      const outcome = await work(process).catch((error: unknown) => error);
      if (!isDead()) {
        expect(outcome).not.toBeInstanceOf(Error);
        return at - 1;
      }
      await using next = openVault(postgres, rootKey, other);
      await work(next);
      expect(await next.secretsOf(orgId)).toStrictEqual(secrets);
      await holds();
    }
  }
}

test("a process that dies before or after any transaction of a rotation loses nothing, and the next one finishes it", async () => {
  const steps = await diesAtEach(
    async ({ rotation }) => {
      await rotation.start(orgId);
      await rotation.finish(orgId);
    },
    async () => {
      const living = await postgres.asOwner("select from org_keys where wrapped_key is not null");
      expect(living).toHaveLength(1);
    },
  );
  expect(steps).toBeGreaterThan(20);
});

test("a process that dies before or after any transaction of a new root key loses nothing, and the next one finishes it", async () => {
  const steps = await diesAtEach(
    async (vault) => {
      await vault.rewrapServiceKeys();
      await vault.rewrapOrgKeys(orgId);
    },
    async () => {
      const used = await postgres.asOwner("select from used_root_keys()");
      expect(used).toHaveLength(1);
      // And back again.
      [rootKey, other] = [other, rootKey];
    },
  );
  expect(steps).toBeGreaterThanOrEqual(5);
});
