import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { append } from "#src/audit/append.ts";
import { sql } from "#src/db/drizzle.cjs";
import { newId } from "#src/platform/ids.ts";
import { Secret } from "#src/platform/secret.ts";
import { createDispatch } from "#src/webhooks/dispatch.ts";
import { webhookEndpoints, webhookSecrets } from "#src/webhooks/schema.ts";
import { median } from "../figures.ts";
import type { OpenedLogs } from "../../support/open-logs.ts";
import { log, type BenchLogs } from "./logs.ts";

const callers = 16;

/**
 * Audited changes per second of one organisation, with an endpoint that is sent each of them, and without. What is sent
 * is answered at once and in process, so that only finding, reading and settling are measured.
 */
export async function benchChanges(logs: BenchLogs, rounds: number, visitMs: number): Promise<void> {
  const replica = await logs.replica();
  const { database } = replica;
  const [on, off]: [number[], number[]] = [[], []];
  let sent = 0;

  async function changesPerSecond(): Promise<number> {
    let changes = 0;
    const began = performance.now();
    const keepChanging = async () => {
      while (performance.now() - began < visitMs) {
        await database.change(logs.orgId, (tx) =>
          append(tx, "service", { action: "bench.change", target: logs.orgId, details: {} }),
        );
        changes += 1;
      }
    };
    await Promise.all(Array.from({ length: callers }, keepChanging));
    return (changes * 1_000) / (performance.now() - began);
  }

  await addEndpoint(logs, replica);
  await changesPerSecond();
  for (let round = 0; round < rounds; round++) {
    for (const isOn of round % 2 === 0 ? [true, false] : [false, true]) {
      const now = () => new Date();
      const deliver = async () => {
        sent += 1;
        const none = { stage: undefined, answerType: undefined, answerBytes: 0, retryAfterMs: undefined };
        return { ok: true, status: 200, latencyMs: 1, ...none };
      };
      const dispatch = createDispatch({ ...replica, deliver, environment: "sandbox", log, now });
      if (isOn) dispatch.start();
      (isOn ? on : off).push(await changesPerSecond());
      await dispatch.stop();
      await sleep(100);
    }
  }
  const ratio = median(on.map((one, round) => one / (off[round] ?? one))).toFixed(2);
  console.log(
    `without ${median(off).toFixed(0)}/s, with webhooks ${median(on).toFixed(0)}/s: ${ratio} ×; ${sent} were sent`,
  );
}

async function addEndpoint({ orgId }: BenchLogs, { database, keyring }: OpenedLogs): Promise<void> {
  const [id, at] = [newId("whe", new Date()), new Date()];
  await keyring.sealing(orgId, (sealer) =>
    database.change(orgId, async (tx) => {
      using secret = new Secret(randomBytes(32));
      const owner = { orgId, id, kind: "endpoint-secret", version: 1 } as const;
      const { kekVersion, bytes } = await sealer.seal(tx, owner, secret);
      await tx.insert(webhookEndpoints).values({
        ...{ orgId, id, environment: "sandbox", url: "https://bench.example", description: "" },
        ...{ types: ["audit.*"], pausedTypes: [], ordering: "none", afterSchedule: "skip", body: "webhook" },
        ...{ contentType: "application/json", maxInFlight: 8, keepSuccesses: false, headerNames: [] },
        ...{
          headersVersion: 1,
          state: "active",
          ownerKeyId: "bench",
          version: 1,
          createdAt: at,
          updatedAt: at,
        },
        failures: 0,
      });
      const of = { orgId, endpointId: id, version: 1, kekVersion };
      await tx.insert(webhookSecrets).values({ ...of, sealed: bytes, createdAt: at });
      await tx.execute(
        sql`insert into webhook_cursors (org_id, endpoint_id, log, seq)
          select org_id, ${id}, 'audit', seq from audit_heads where org_id = ${orgId}`,
      );
      await append(tx, "service", { action: "bench.endpoint", target: id, details: {} });
    }),
  );
}
