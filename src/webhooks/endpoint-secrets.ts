import { randomBytes } from "node:crypto";
import type { SealOwner } from "#src/crypto/keyring.ts";
import { Secret } from "#src/platform/secret.ts";
import type { Endpoint } from "./endpoint.ts";

const secretBytes = 32;

/** A secret to sign deliveries with. What is sealed is its bytes. */
export function newEndpointSecret(): { readonly secret: Secret; readonly text: string } {
  const bytes = randomBytes(secretBytes);
  return { secret: new Secret(bytes), text: `whsec_${bytes.toString("base64")}` };
}

/** The record that a secret is sealed for. */
export function ownerOfSecret({ orgId, id }: Pick<Endpoint, "orgId" | "id">, version: number): SealOwner {
  return { orgId, kind: "endpoint-secret", id, version };
}

/** The record that the values of an endpoint's own headers are sealed for, as a JSON object by their names. */
export function ownerOfHeaders({
  orgId,
  id,
  headersVersion: version,
}: Pick<Endpoint, "orgId" | "id" | "headersVersion">): SealOwner {
  return { orgId, kind: "endpoint-header", id, version };
}
