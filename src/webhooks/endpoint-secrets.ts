import type { SealOwner } from "#src/crypto/keyring.ts";
import type { Endpoint } from "./endpoint.ts";

/** The record that a secret is sealed for. */
export function ownerOfSecret({ orgId, id }: Pick<Endpoint, "orgId" | "id">, version: number): SealOwner {
  return { orgId, kind: "endpoint-secret", id, version };
}

/** The record that the values of an endpoint's own headers are sealed for, as a JSON object by their names. */
export function ownerOfHeaders({ orgId, id }: Pick<Endpoint, "orgId" | "id">, version: number): SealOwner {
  return { orgId, kind: "endpoint-header", id, version };
}
