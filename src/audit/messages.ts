import type { JsonObject, JsonValue, MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { AuditEventSchema } from "#gen/patchbay/audit/v1/audit_event_pb.js";
import type {
  AuditHead,
  AuditHeadSchema,
  VerifyAuditResponseSchema,
} from "#gen/patchbay/audit/v1/audit_service_pb.js";
import { isObject } from "#src/json/object.ts";
import type { Head, StoredEvent } from "./verify-chain.ts";
import type { Verdict } from "./verify-record.ts";

/** An event as it is answered. What a message cannot hold is left out: one spoilt event must not hide all others. */
export function eventToMessage(event: StoredEvent): MessageInitShape<typeof AuditEventSchema> {
  const { seq, at, action, target, apiKeyId, userId, requestId, hash, previousHash } = event;
  const details = detailsOf(event);
  return {
    seq,
    ...(at !== null && isCalendarTime(at) && { at: timestampFromDate(at) }),
    action: action ?? "",
    target: target ?? "",
    ...(apiKeyId !== null && { apiKeyId }),
    ...(userId !== null && { userId }),
    ...(requestId !== null && { requestId }),
    ...(details !== undefined && { details }),
    hash: hash?.toString("hex") ?? "",
    previousHash: previousHash?.toString("hex") ?? "",
  };
}

/** A head as it is stored; undefined if the request has none. */
export function headOf(message: AuditHead | undefined): Head | undefined {
  return message && { seq: message.seq, hash: Buffer.from(message.hash, "hex") };
}

/** What a verification found, as it is answered. */
export function verdictToMessage(verdict: Verdict): MessageInitShape<typeof VerifyAuditResponseSchema> {
  const answer = {
    valid: !("fault" in verdict),
    verifiedEvents: verdict.verified,
    verifiedAnchors: BigInt(verdict.anchors),
    ...(verdict.start.seq > 0n && { start: headToMessage(verdict.start) }),
  };
  if ("fault" in verdict) return { ...answer, fault: verdict.fault };
  if ("next" in verdict) return { ...answer, next: headToMessage(verdict.next) };
  return { ...answer, head: headToMessage(verdict.head) };
}

function headToMessage({ seq, hash }: Head): MessageInitShape<typeof AuditHeadSchema> {
  return { seq, hash: hash.toString("hex") };
}

/** Whether it is one of the times that a Timestamp holds; Postgres has others, and infinity. */
function isCalendarTime(at: Date): boolean {
  return (
    at.getTime() >= Date.parse("0001-01-01T00:00:00Z") && at.getTime() < Date.parse("+010000-01-01T00:00:00Z")
  );
}

function detailsOf({ details }: StoredEvent): JsonObject | undefined {
  const json = details === null ? undefined : (JSON.parse(details) as JsonValue);
  return isObject(json) && fitsMessage(json, maxDepth) ? json : undefined;
}

/** No event's details are nested so deep, and every protobuf library reads so much. */
const maxDepth = 30;

/** JSON has texts, numbers and depths that a `google.protobuf.Struct` has not. */
function fitsMessage(json: JsonValue, depth: number): boolean {
  if (typeof json === "string") return json.isWellFormed();
  if (typeof json === "number") return Number.isFinite(json);
  if (typeof json === "boolean" || json === null) return true;
  return (
    depth > 0 &&
    Object.entries(json).every(([name, value]) => name.isWellFormed() && fitsMessage(value, depth - 1))
  );
}
