import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type {
  DeadDeliverySchema,
  WebhookAttemptSchema,
} from "#gen/patchbay/webhooks/v1/webhook_endpoint_pb.js";
import type { WebhookService } from "#gen/patchbay/webhooks/v1/webhook_service_pb.js";
import type { Tx } from "#src/db/database.ts";
import { callerOf, type Viewer } from "#src/platform/caller.ts";
import { InvalidPageToken, nextPage, readPage } from "#src/platform/paging.ts";
import { present } from "#src/platform/present.ts";
import {
  listAttempts,
  listDead,
  type DeadPlace,
  type AttemptPlace,
  type ListedAttempt,
  type Parked,
} from "./delivery-store.ts";
import type { Endpoint } from "./endpoint.ts";
import { EndpointNotFound } from "./errors.ts";
import type { WebhookParts } from "./service.ts";
import { getEndpoint } from "./store.ts";

const defaultPageSize = 100;

/** Lists what came of deliveries. See the contract. */
export function createDeliveryLists({
  database,
}: Pick<WebhookParts, "database">): Pick<
  ServiceImpl<typeof WebhookService>,
  "listWebhookAttempts" | "listDeadDeliveries"
> {
  return {
    async listWebhookAttempts(request, context) {
      const caller = callerOf(context);
      const { id, log, failuresOnly } = request;
      const filter = { log: log || undefined, failuresOnly };
      const page = await readPage(
        request,
        defaultPageSize,
        async ({ after, limit }) => {
          const part = { after: attemptPlace(after), limit };
          return database.read(caller.orgId, async (tx) =>
            listAttempts(tx, await requireEndpoint(tx, caller, id), filter, part),
          );
        },
        ({ turnAt, at, log, seq, attempt }) =>
          [turnAt.toISOString(), at.toISOString(), log, seq, attempt].join(" "),
      );
      return { attempts: page.items.map(attemptMessage), ...nextPage(page) };
    },

    async listDeadDeliveries(request, context) {
      const caller = callerOf(context);
      const page = await readPage(
        request,
        defaultPageSize,
        async ({ after, limit }) => {
          const part = { after: deadPlace(after), limit };
          return database.read(caller.orgId, async (tx) =>
            listDead(tx, await requireEndpoint(tx, caller, request.id), part),
          );
        },
        ({ log, seq }) => [log, seq].join(" "),
      );
      return { deliveries: page.items.map(deadMessage), ...nextPage(page) };
    },
  };
}

async function requireEndpoint(tx: Tx, viewer: Viewer, id: string): Promise<Endpoint> {
  const endpoint = await getEndpoint(tx, viewer, id);
  if (endpoint === undefined) throw new EndpointNotFound();
  return endpoint;
}

function attemptPlace(key: string): AttemptPlace | undefined {
  if (key === "") return undefined;
  const place = /^(?<turn>\S{1,32}) (?<at>\S{1,32}) (?<log>\S{1,64}) (?<seq>\d{1,16}) (?<attempt>\d{1,9})$/;
  const { turn = "", at = "", log = "", seq, attempt } = place.exec(key)?.groups ?? {};
  return { turnAt: moment(turn), at: moment(at), log, seq: Number(seq), attempt: Number(attempt) };
}

function moment(text: string): Date {
  const parsed = new Date(text);
  if (!/^\d{4}-\d\d-\d\dT\S+Z$/.test(text) || Number.isNaN(parsed.getTime())) throw new InvalidPageToken();
  return parsed;
}

function deadPlace(key: string): DeadPlace | undefined {
  if (key === "") return undefined;
  const { log, seq } = /^(?<log>\S{1,64}) (?<seq>\d{1,16})$/.exec(key)?.groups ?? {};
  if (log === undefined) throw new InvalidPageToken();
  return { log, seq: Number(seq) };
}

function attemptMessage(listed: ListedAttempt): MessageInitShape<typeof WebhookAttemptSchema> {
  const { at, log, seq, attempt, latencyMs, status, stage, answerType, answerBytes } = listed;
  return {
    ...{ at: timestampFromDate(at), log, seq: BigInt(seq), attempt, latencyMs },
    ...present({ status, stage, answerType, answerBytes }),
  };
}

function deadMessage(row: Parked): MessageInitShape<typeof DeadDeliverySchema> {
  const { log, seq, attempts, parkedAt, deadAt } = row;
  return {
    ...{ log, seq: BigInt(seq), attempts, failedAt: timestampFromDate(parkedAt) },
    deadAt: timestampFromDate(deadAt ?? parkedAt),
    ...present({
      subject: row.subject ?? undefined,
      lastStatus: row.lastStatus ?? undefined,
      lastStage: row.lastStage ?? undefined,
    }),
  };
}
