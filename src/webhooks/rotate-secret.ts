import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { WebhookService } from "#gen/patchbay/webhooks/v1/webhook_service_pb.js";
import { append } from "#src/audit/append.ts";
import { callerOf, callOf } from "#src/platform/caller.ts";
import { ownerOfSecret } from "./endpoint-secrets.ts";
import { EndpointNotFound } from "./errors.ts";
import { toMessage } from "./messages.ts";
import { rotate } from "./rotation.ts";
import type { WebhookParts } from "./service.ts";
import { newSigningSecret, signingSecretText } from "./signing.ts";
import { getEndpointForUpdate, insertSecret, saveSecrets } from "./store.ts";

/** A day, in which receivers are told the new secret. */
const defaultGraceSeconds = 24 * 60 * 60;

/** Replaces the secret of an endpoint. See the contract. */
export function createRotateSecret(
  parts: WebhookParts,
): ServiceImpl<typeof WebhookService>["rotateWebhookSecret"] {
  const { change, keyring, now } = parts;

  return async ({ id, graceSeconds = defaultGraceSeconds }, context) => {
    const call = callOf(context);
    const caller = callerOf(context);
    const at = now();
    using secret = newSigningSecret();
    const { endpoint, previousValidUntil } = await keyring.sealing(caller.orgId, (sealer) =>
      change(call, async (tx) => {
        const known = await getEndpointForUpdate(tx, caller, id);
        if (known === undefined) throw new EndpointNotFound();
        const { fresh, kept, previousValidUntil } = rotate(known.secrets, graceSeconds * 1000, at);
        await saveSecrets(tx, known, kept);
        const sealed = await sealer.seal(tx, ownerOfSecret(known, fresh.version), secret);
        await insertSecret(tx, known, fresh, sealed);
        await append(tx, call, {
          action: "webhook.rotate",
          target: id,
          details: { url: known.url, previousValidUntil: previousValidUntil.toISOString() },
        });
        return { endpoint: { ...known, secrets: [fresh, ...kept] }, previousValidUntil };
      }),
    );
    return {
      endpoint: toMessage(endpoint, at),
      secret: signingSecretText(secret),
      previousValidUntil: timestampFromDate(previousValidUntil),
    };
  };
}
