import type { auditEvents } from "#src/audit/schema.ts";
import { auditLog, type LoggedEvent } from "./event.ts";

/** What records of the audit log are also known by, if their details say so. */
const ownTypes: Readonly<Record<string, (details: unknown) => string | undefined>> = {
  "api_key.rotate": () => "api_key.rotated",
  "api_key.revoke": () => "api_key.revoked",
  // However a grant ends, this records it.
  "connection.refresh": (details) => (needsReauth(details) ? "connection.needs_reauth" : undefined),
};

function needsReauth(details: unknown): boolean {
  const { status } = details as { status?: { before?: unknown; after?: unknown } };
  return status?.after === "NEEDS_REAUTH" && status.before !== status.after;
}

/**
 * A record of the audit log as an event. It carries number and hash, so whoever receives it is a witness of the chain.
 */
export function eventOfRecord(record: typeof auditEvents.$inferSelect): LoggedEvent {
  const { orgId, seq, at, action, target, apiKeyId, userId, requestId, details, hash, previousHash } = record;
  const auditType = `audit.${action}`;
  const known = JSON.parse(details) as unknown;
  const ownType = ownTypes[action]?.(known);
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
    data: Buffer.from(JSON.stringify({ ...facts, details: known, ...hashes })),
  };
}
