import type { ServiceImpl } from "@connectrpc/connect";
import type {
  CreateWebhookEndpointRequest,
  WebhookService,
} from "#gen/patchbay/webhooks/v1/webhook_service_pb.js";
import { append } from "#src/audit/append.ts";
import { callerOf, callOf } from "#src/platform/caller.ts";
import { Secret } from "#src/platform/secret.ts";
import { detailsOf } from "./endpoint-details.ts";
import { endsOfSchedule, formats, newEndpoint, orderings } from "./endpoint.ts";
import { ownerOfHeaders, ownerOfSecret } from "./endpoint-secrets.ts";
import { endpointUrl } from "./endpoint-url.ts";
import { TooManyEndpoints } from "./errors.ts";
import { logsOf, requireTypes } from "./event-types.ts";
import { toMessage } from "./messages.ts";
import { ownHeaders } from "./own-headers.ts";
import { requireReadable } from "./reading-rights.ts";
import type { WebhookParts } from "./service.ts";
import { newSigningSecret, signingSecretText } from "./signing.ts";
import { countEndpoints, endsOf, insertEndpoint, insertSecret } from "./store.ts";

const defaultInFlight = 8;
/** Of an organisation. Each event is looked at for each of them. */
const maxEndpoints = 1_000;

/** Registers an endpoint. See the contract. */
export function createCreateEndpoint(
  parts: WebhookParts,
): ServiceImpl<typeof WebhookService>["createWebhookEndpoint"] {
  const { change, keyring, outbound, now } = parts;

  return async (request, context) => {
    const call = callOf(context);
    const caller = callerOf(context);
    const at = now();
    const headers = ownHeaders(request.headers);
    const settings = {
      ...settingsFrom(request),
      url: endpointUrl(request.url, outbound),
      headerNames: [...headers.keys()],
    };
    requireTypes(settings.types);
    const logs = logsOf(settings.types);
    using secret = newSigningSecret();
    using headerValues = Secret.fromText(JSON.stringify(Object.fromEntries(headers)));
    const endpoint = await keyring.sealing(caller.orgId, (sealer) =>
      change(call, async (tx) => {
        await requireReadable(tx, caller, settings.types);
        const endpoint = newEndpoint(settings, caller, await endsOf(tx, caller.orgId, logs), at);
        const sealedHeaders =
          headers.size === 0
            ? undefined
            : await sealer.seal(tx, ownerOfHeaders(endpoint, endpoint.headersVersion), headerValues);
        await insertEndpoint(tx, endpoint, sealedHeaders);
        for (const made of endpoint.secrets) {
          const sealed = await sealer.seal(tx, ownerOfSecret(endpoint, made.version), secret);
          await insertSecret(tx, endpoint, made, sealed);
        }
        await append(tx, call, {
          action: "webhook.create",
          target: endpoint.id,
          details: detailsOf(endpoint),
        });
        // Last, when no other change of the organisation is under way: two cannot both be the last that there is room for.
        if ((await countEndpoints(tx, caller)) > maxEndpoints) throw new TooManyEndpoints(maxEndpoints);
        return endpoint;
      }),
    );
    return { endpoint: toMessage(endpoint, at), secret: signingSecretText(secret) };
  };
}

function settingsFrom(request: CreateWebhookEndpointRequest) {
  const { types, description = "", maxInFlight, perSecond, failuresOnly } = request;
  return {
    ...{ types: [...new Set(types)], description, perSecond, keepSuccesses: !failuresOnly },
    maxInFlight: maxInFlight === 0 ? defaultInFlight : maxInFlight,
    ordering: oneOf(orderings, request.ordering),
    afterSchedule: oneOf(endsOfSchedule, request.afterSchedule),
    format: oneOf(formats, request.format),
  };
}

/** The choice that was made; the first if none was. */
function oneOf<Choice extends string>(choices: readonly [Choice, ...Choice[]], made: string): Choice {
  return choices.find((choice) => choice === made) ?? choices[0];
}
