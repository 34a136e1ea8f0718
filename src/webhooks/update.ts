import type { ServiceImpl } from "@connectrpc/connect";
import { isDeepStrictEqual } from "node:util";
import type { WebhookService } from "#gen/patchbay/webhooks/v1/webhook_service_pb.js";
import { append } from "#src/audit/append.ts";
import type { Sealed } from "#src/crypto/keyring.ts";
import type { Tx } from "#src/db/database.ts";
import { callerOf, callOf } from "#src/platform/caller.ts";
import { Secret } from "#src/platform/secret.ts";
import { detailsOf } from "./endpoint-details.ts";
import { activeTypes, update, type Endpoint } from "./endpoint.ts";
import { changesFrom } from "./endpoint-changes.ts";
import { ownerOfHeaders } from "./endpoint-secrets.ts";
import { endpointUrl } from "./endpoint-url.ts";
import { EndpointNotFound } from "./errors.ts";
import { logsOf, requireTypes } from "./event-types.ts";
import { toMessage } from "./messages.ts";
import { appendOwnEvent } from "./own-events.ts";
import { requireReadable } from "./reading-rights.ts";
import type { WebhookParts } from "./service.ts";
import { endsOf, getEndpointForUpdate, keepLogs, moveCursors, saveEndpoint, saveHeaders } from "./store.ts";

/** Changes an endpoint. See the contract. */
export function createUpdateEndpoint(
  parts: WebhookParts,
): ServiceImpl<typeof WebhookService>["updateWebhookEndpoint"] {
  const { change, keyring, outbound, now } = parts;

  return async (request, context) => {
    const call = callOf(context);
    const caller = callerOf(context);
    const at = now();
    const { headers, ...wanted } = changesFrom(request);
    const settings = {
      ...wanted,
      ...(wanted.url !== undefined && { url: endpointUrl(wanted.url, outbound) }),
      ...(headers && { headerNames: [...headers.keys()] }),
    };
    if (settings.types !== undefined) requireTypes(settings.types);
    using headerValues = Secret.fromText(JSON.stringify(Object.fromEntries(headers ?? [])));

    const save = async (tx: Tx, seal?: (endpoint: Endpoint) => Promise<Sealed>) => {
      const known = await getEndpointForUpdate(tx, caller, request.id);
      if (known === undefined) throw new EndpointNotFound();
      const next = update(known, settings, caller, at);
      if (next.owner !== known.owner) await requireReadable(tx, caller, next.types);
      await saveEndpoint(tx, next);
      if (headers !== undefined) {
        const renewed = { ...next, headersVersion: known.headersVersion + 1 };
        await saveHeaders(tx, renewed, await seal?.(renewed));
      }
      const positions = await readFrom(tx, known, next);
      await append(tx, call, {
        action: "webhook.update",
        target: next.id,
        details: { before: detailsOf(known), after: detailsOf(next) },
      });
      if (next.state !== known.state) {
        await appendOwnEvent(tx, next, { type: "webhook.resumed", data: { positions } });
      }
      return { ...next, positions };
    };
    const isSealed = headers !== undefined && headers.size > 0;
    const updated = await (isSealed
      ? keyring.sealing(caller.orgId, (sealer) =>
          change(call, (tx) =>
            save(tx, (endpoint) =>
              sealer.seal(tx, ownerOfHeaders(endpoint, endpoint.headersVersion), headerValues),
            ),
          ),
        )
      : change(call, (tx) => save(tx)));
    return { endpoint: toMessage(updated, at) };
  };
}

/** Begins new logs at their ends, and a new chain in those that the endpoint goes on to read, if it selects others. */
async function readFrom(tx: Tx, known: Endpoint, next: Endpoint) {
  if (isDeepStrictEqual(activeTypes(known), activeTypes(next))) return known.positions;
  const logs = logsOf(next.types);
  const kept = known.positions.filter(({ log }) => logs.includes(log));
  const added = logs.filter((log) => !kept.some((position) => position.log === log));
  const positions = [...kept, ...(await endsOf(tx, next.orgId, added))];
  await keepLogs(tx, next, logs);
  await moveCursors(tx, next, positions);
  return positions.toSorted((a, b) => (a.log < b.log ? -1 : 1));
}
