import type { SealOwner } from "#src/crypto/keyring.ts";
import type { Channel } from "./channel.ts";

/** Whose secret it is: no other channel's, and no other version's. */
export function secretOwner({ orgId, id }: Pick<Channel, "orgId" | "id">, version: number): SealOwner {
  return { orgId, kind: "channel-secret", id, version };
}
