import { createPrivateKey, createPublicKey, sign } from "node:crypto";
import { keyIdOf, type AuditKey } from "#src/audit/anchor.ts";
import type { Database } from "#src/db/database.ts";
import type { RootKeyParts } from "./named-root-key.ts";
import { loadServiceKey } from "./service-keys.ts";

/** What stands before the 32 bytes of an Ed25519 key in PKCS #8 (RFC 8410, 7). */
const pkcs8 = Buffer.from("302e020100300506032b657004220420", "hex");

/** The key that signs what is said of audit records, made on the first start. */
export async function loadAuditKey(
  parts: { database: Database; now: () => Date } & RootKeyParts,
): Promise<AuditKey> {
  const seed = await loadServiceKey("audit", parts);
  const der = Buffer.concat([pkcs8, seed]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  seed.fill(0);
  der.fill(0);
  const publicKey = createPublicKey(key);
  return { id: keyIdOf(publicKey), publicKey, sign: (text) => sign(null, Buffer.from(text), key) };
}
