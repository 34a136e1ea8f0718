import type { auditEvents } from "#src/audit/schema.ts";
import { auditLog, type LoggedEvent } from "./event.ts";

/** What records of the audit log are also known by. */
const ownTypes: Readonly<Record<string, string>> = {
  "api_key.rotate": "api_key.rotated",
  "api_key.revoke": "api_key.revoked",
};

/**
 * A record of the audit log as an event. It carries number and hash, so whoever receives it is a witness of the chain.
 */
export function eventOfRecord(record: typeof auditEvents.$inferSelect): LoggedEvent {
  const { orgId, seq, at, action, target, apiKeyId, userId, requestId, details, hash, previousHash } = record;
  const auditType = `audit.${action}`;
  const ownType = ownTypes[action];
  const types = ownType === undefined ? [auditType] : [ownType, auditType];
  const facts = { seq: Number(seq), action, target, apiKeyId, userId, requestId };
  const hashes = { hash: hash.toString("hex"), previousHash: previousHash.toString("hex") };
  return {
    ...{ orgId, log: auditLog, seq: Number(seq), receivedAt: at, types },
    ...{
      id: `${auditLog}.${seq}`,
      source: "patchbay",
      type: ownType ?? auditType,
      subject: target,
      time: at.toISOString(),
    },
    ...{ contentType: "application/json", extensions: {}, verified: "patchbay" },
    data: Buffer.from(JSON.stringify({ ...facts, details: JSON.parse(details) as unknown, ...hashes })),
  };
}
