import { isKeyOf } from "#src/crypto/org-keys.ts";
import { orgKeys } from "#src/crypto/schema.ts";
import type { Tx } from "#src/db/database.ts";
import { and, desc, eq, gt, isNull, or } from "#src/db/drizzle.cjs";
import type { Viewer } from "#src/platform/caller.ts";
import type { SealedPart } from "./dispatch-store.ts";
import type { SealedReceiver } from "./opened-receiver.ts";
import { webhookEndpoints, webhookSecrets } from "./schema.ts";

/** What the endpoint is sent with, sealed. */
export async function findSealedReceiver(
  tx: Tx,
  { orgId, environment }: Viewer,
  id: string,
  now: Date,
): Promise<SealedReceiver | undefined> {
  const [found] = await tx
    .select({ endpoint: webhookEndpoints, wrapped: orgKeys.wrappedKey })
    .from(webhookEndpoints)
    .leftJoin(orgKeys, isKeyOf(webhookEndpoints.orgId, webhookEndpoints.headersKekVersion))
    .where(
      and(
        ...[eq(webhookEndpoints.orgId, orgId), eq(webhookEndpoints.environment, environment)],
        eq(webhookEndpoints.id, id),
      ),
    );
  if (found === undefined) return undefined;
  const { version, validUntil } = webhookSecrets;
  const secrets = await tx
    .select({ secret: webhookSecrets, wrapped: orgKeys.wrappedKey })
    .from(webhookSecrets)
    .leftJoin(orgKeys, isKeyOf(webhookSecrets.orgId, webhookSecrets.kekVersion))
    .where(
      and(
        ...[eq(webhookSecrets.orgId, orgId), eq(webhookSecrets.endpointId, id)],
        or(isNull(validUntil), gt(validUntil, now)),
      ),
    )
    .orderBy(desc(version));
  const { url, body, contentType, headersVersion, headersKekVersion, sealedHeaders } = found.endpoint;
  return {
    ...{ orgId, id, url, body, contentType },
    headers: partOf(headersVersion, headersKekVersion, sealedHeaders, found.wrapped),
    secrets: secrets.flatMap(
      ({ secret, wrapped }) => partOf(secret.version, secret.kekVersion, secret.sealed, wrapped) ?? [],
    ),
  };
}

/** A key that was destroyed is empty, and opens nothing. */
function partOf(
  version: number,
  kekVersion: number | null,
  sealed: Buffer | null,
  wrapped: Buffer | null,
): SealedPart | undefined {
  if (kekVersion === null || sealed === null) return undefined;
  return { version, kekVersion, sealed, wrapped: wrapped ?? Buffer.of() };
}
