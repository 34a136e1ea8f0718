import type { JsonObject, MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { AuditEventSchema } from "#gen/patchbay/audit/v1/audit_event_pb.js";
import { AuditService } from "#gen/patchbay/audit/v1/audit_service_pb.js";
import type { Database } from "#src/db/database.ts";
import { callerOf } from "#src/platform/caller.ts";
import { InvalidPageToken, nextPage, readPage } from "#src/platform/paging.ts";
import { serve, type Feature } from "#src/platform/served-service.ts";
import { listEvents } from "./store.ts";
import type { StoredEvent } from "./verify.ts";

const defaultPageSize = 100;

/** Answers the record of changes. See the contract, `audit_service.proto`. */
export function createAudit({ database }: { database: Database }): Feature {
  return { services: [serve(AuditService, createAuditService(database))] };
}

function createAuditService(database: Database): ServiceImpl<typeof AuditService> {
  return {
    async listAuditEvents(request, context) {
      const { orgId } = callerOf(context);
      const filter = { action: request.action || undefined, target: request.target || undefined };
      const page = await database.read(orgId, (tx) =>
        readPage(
          request,
          defaultPageSize,
          ({ after, limit }) => listEvents(tx, orgId, { ...filter, before: seqFrom(after), limit }),
          (event) => String(event.seq),
        ),
      );
      return {
        events: page.items.map(toMessage),
        ...nextPage(page),
      };
    },
  };
}

function seqFrom(text: string): number | undefined {
  if (text === "") return undefined;
  if (!/^\d{1,15}$/.test(text)) throw new InvalidPageToken();
  return Number(text);
}

function toMessage(event: StoredEvent): MessageInitShape<typeof AuditEventSchema> {
  return {
    seq: BigInt(event.seq),
    at: timestampFromDate(event.at),
    action: event.action,
    target: event.target,
    ...(event.apiKeyId !== null && { apiKeyId: event.apiKeyId }),
    ...(event.userId !== null && { userId: event.userId }),
    ...(event.requestId !== null && { requestId: event.requestId }),
    details: JSON.parse(event.details) as JsonObject,
    hash: event.hash.toString("hex"),
    previousHash: event.previousHash.toString("hex"),
  };
}
