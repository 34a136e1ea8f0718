import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { WebhookEndpointSchema } from "#gen/patchbay/webhooks/v1/webhook_endpoint_pb.js";
import { present } from "#src/platform/present.ts";
import type { Endpoint } from "./endpoint.ts";

/** An endpoint as the contract shows it. */
export function toMessage(endpoint: Endpoint, now: Date): MessageInitShape<typeof WebhookEndpointSchema> {
  const { id, url, description, ordering, afterSchedule, format, maxInFlight, keepSuccesses, state } =
    endpoint;
  const { failingSince, lastSuccessAt, lastFailureAt, owner } = endpoint;
  return {
    ...{ id, url, description, ordering, afterSchedule, format, maxInFlight, keepSuccesses, state },
    types: [...endpoint.types],
    pausedTypes: [...endpoint.pausedTypes],
    headerNames: [...endpoint.headerNames],
    ownerKeyId: owner.keyId,
    ...present({
      ownerUserId: owner.userId,
      perSecond: endpoint.perSecond,
      stateReason: endpoint.stateReason,
      failingSince: failingSince && timestampFromDate(failingSince),
      lastSuccessAt: lastSuccessAt && timestampFromDate(lastSuccessAt),
      lastFailureAt: lastFailureAt && timestampFromDate(lastFailureAt),
    }),
    createdAt: timestampFromDate(endpoint.createdAt),
    updatedAt: timestampFromDate(endpoint.updatedAt),
    secrets: endpoint.secrets
      .filter(({ validUntil }) => validUntil === undefined || validUntil > now)
      .map(({ createdAt, validUntil }) => ({
        createdAt: timestampFromDate(createdAt),
        ...(validUntil && { validUntil: timestampFromDate(validUntil) }),
      })),
    positions: endpoint.positions.map(({ log, seq }) => ({ log, seq: BigInt(seq) })),
  };
}
