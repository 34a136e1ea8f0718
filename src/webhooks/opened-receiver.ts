import type { Keyring, SealOwner } from "#src/crypto/keyring.ts";
import { Secret } from "#src/platform/secret.ts";
import type { Receiver } from "./delivery.ts";
import type { DueEndpoint, SealedPart } from "./dispatch-store.ts";
import { ownerOfHeaders, ownerOfSecret } from "./endpoint-secrets.ts";

/** An endpoint with its secrets opened. They are wiped when it is disposed of. */
export interface OpenedReceiver extends Disposable {
  readonly receiver: Receiver;
}

/** What an endpoint is sent with, sealed. */
export type SealedReceiver = Pick<
  DueEndpoint,
  "orgId" | "id" | "url" | "body" | "contentType" | "headers" | "secrets"
>;

/** Opens what an endpoint is sent with. */
export async function openReceiver(
  keyring: Pick<Keyring, "open">,
  endpoint: SealedReceiver,
): Promise<OpenedReceiver> {
  const { orgId, id, url, body, contentType } = endpoint;
  using opened = new DisposableStack();
  const open = async (owner: SealOwner, { kekVersion, sealed: bytes, wrapped }: SealedPart) =>
    opened.use(await keyring.open(owner, { kekVersion, bytes }, wrapped));
  const [current, previous] = await Promise.all(
    endpoint.secrets.map((part) => open(ownerOfSecret(endpoint, part.version), part)),
  );
  if (current === undefined) throw new Error(`webhook endpoint ${id} has no secret to sign with`);
  const { headers: sealed } = endpoint;
  const headers = sealed && headersOf(await open(ownerOfHeaders(endpoint, sealed.version), sealed));
  for (const value of Object.values(headers ?? {})) opened.use(value);
  const kept = opened.move();
  return {
    receiver: {
      ...{ orgId, endpointId: id, url, body, contentType },
      headers: headers ?? {},
      secrets: { current, previous },
    },
    [Symbol.dispose]: () => kept.dispose(),
  };
}

function headersOf(sealed: Secret): Record<string, Secret> {
  const texts = JSON.parse(sealed.reveal().toString()) as Record<string, string>;
  return Object.fromEntries(Object.entries(texts).map(([name, value]) => [name, Secret.fromText(value)]));
}
