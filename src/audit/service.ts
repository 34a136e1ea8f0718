import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { AuditService, ListAuditEventsRequest } from "#gen/patchbay/audit/v1/audit_service_pb.js";
import type { Database, Tx } from "#src/db/database.ts";
import type { AnyPgColumn, SQL } from "#src/db/drizzle.cjs";
import { callerOf, type Caller } from "#src/platform/caller.ts";
import { InvalidPageToken, nextPage, readPage } from "#src/platform/paging.ts";
import { eventToMessage, headOf, verdictToMessage } from "./messages.ts";
import { auditEvents } from "./schema.ts";
import { listEvents, type EventFilter } from "./store.ts";
import type { AuditKey } from "./anchor.ts";
import type { VerifyRecord } from "./verify-record.ts";

const defaultPageSize = 100;
/** Well within what proxies wait for an answer. */
const maxVerificationMs = 30_000;

interface AuditParts {
  readonly database: Database;
  readonly auditKey: AuditKey;
  /** Whether the column names what the caller's key may know of, as a condition of the statement. */
  readonly hasShownTarget: (tx: Tx, caller: Caller, target: AnyPgColumn) => SQL | undefined;
  readonly monotonicNow: () => number;
}

/** Answers the record of changes, and whether it is whole. See the contract, `audit_service.proto`. */
export function createAuditService(
  parts: AuditParts & { readonly verifyRecord: VerifyRecord },
): ServiceImpl<typeof AuditService> {
  const { database, auditKey, hasShownTarget, monotonicNow, verifyRecord } = parts;

  /** Until time is up, with some of the caller's left to answer, or the caller has gone. */
  function mayGoOn({ signal, timeoutMs }: HandlerContext): () => boolean {
    const mostMs = Math.min(maxVerificationMs, 0.8 * (timeoutMs() ?? Infinity));
    const end = monotonicNow() + mostMs;
    return () => !signal.aborted && monotonicNow() < end;
  }

  return {
    async listAuditEvents(request, context) {
      const caller = callerOf(context);
      const filter = filterOf(request);
      const page = await database.read(caller.orgId, (tx) =>
        readPage(
          request,
          defaultPageSize,
          ({ after, limit }) =>
            listEvents(tx, caller.orgId, {
              ...filter,
              isShown: hasShownTarget(tx, caller, auditEvents.target),
              before: seqFrom(after),
              limit,
            }),
          (event) => String(event.seq),
        ),
      );
      return {
        events: page.items.map(eventToMessage),
        ...nextPage(page),
      };
    },

    async verifyAudit({ known, after }, context) {
      const { orgId } = callerOf(context);
      const kept = { known: headOf(known), after: headOf(after) };
      return verdictToMessage(await verifyRecord(orgId, kept, mayGoOn(context)));
    },

    getAuditKey: () => ({
      keyId: auditKey.id,
      publicKey: auditKey.publicKey.export({ format: "pem", type: "spki" }).toString(),
    }),
  };
}

function filterOf(request: ListAuditEventsRequest): Omit<EventFilter, "limit"> {
  const { action, target, apiKeyId, userId } = request;
  return {
    action: action || undefined,
    target: target || undefined,
    apiKeyId: apiKeyId || undefined,
    userId: userId || undefined,
    since: request.since && timestampDate(request.since),
    until: request.until && timestampDate(request.until),
  };
}

function seqFrom(text: string): bigint | undefined {
  if (text === "") return undefined;
  const seq = /^-?\d{1,19}$/.test(text) ? BigInt(text) : undefined;
  if (seq === undefined || BigInt.asIntN(64, seq) !== seq) throw new InvalidPageToken();
  return seq;
}
