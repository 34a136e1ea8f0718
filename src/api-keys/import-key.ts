import { createHash } from "node:crypto";
import type { ImportKeyRequest } from "#gen/patchbay/apikeys/v1/api_key_service_pb.js";
import type { Pepper } from "#src/crypto/service-keys.ts";
import { isUniqueViolation } from "#src/db/errors.ts";
import type { Tx } from "#src/db/database.ts";
import type { Environment } from "#src/platform/caller.ts";
import { isDisplayName } from "#src/platform/display-name.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { pastedProblem } from "#src/platform/pasted-secret.ts";
import type { ApiKey, KeySecret } from "./api-key.ts";
import { KeyAlreadyImported } from "./errors.ts";
import { findPresented } from "./presented-key.ts";
import { insertKey } from "./store.ts";

/** The keys that a deployment takes over. */
export interface Importable {
  readonly environment: Environment;
  /** What keys of earlier systems begin with. */
  readonly legacyPrefixes: readonly string[];
}

/** What is kept of a secret that another system issued, and the hash by which it may have been imported before. */
export interface ImportedSecret {
  readonly stored: KeySecret;
  readonly plain: Buffer;
}

/** The secret to import; throws for one that could never be presented here. */
export function importedSecret(
  request: Pick<ImportKeyRequest, "presented" | "environment">,
  into: Importable,
  pepper: Pepper,
  now: Date,
): ImportedSecret {
  if (request.environment !== into.environment) {
    throw wrongEnvironment("environment", request.environment, into.environment);
  }
  const kept = { createdAt: now, validUntil: undefined, lastUsedAt: undefined };
  if (request.presented.case === "key") {
    const text = request.presented.value;
    requirePresentable(text);
    const hint = hintOf(text, prefixOf(text, into));
    const plain = createHash("sha256").update(text).digest();
    return { stored: { ...kept, hash: pepper(text), hashKind: "peppered", hint }, plain };
  }
  const hex = (request.presented.value ?? "").toLowerCase();
  const hash = Buffer.from(hex, "hex");
  return { stored: { ...kept, hash, hashKind: "sha256", hint: `sha256:${hex.slice(0, 8)}…` }, plain: hash };
}

/**
 * Stores the key, unless a key of any organisation has its secret already.
 *
 * Two imports of one secret at once meet at its unique hash. A key and its plain hash are stored differently, and an
 * import of the hash cannot see that the key is already there; that does no harm, as the key's own entry wins.
 */
export async function insertImported(tx: Tx, key: ApiKey, { stored, plain }: ImportedSecret): Promise<void> {
  if ((await findPresented(tx, { peppered: stored.hash, plain })) !== undefined) {
    throw new KeyAlreadyImported();
  }
  try {
    await insertKey(tx, key);
  } catch (error) {
    throw isUniqueViolation(error, "api_key_secrets_pkey") ? new KeyAlreadyImported() : error;
  }
}

/** What is left of a header of 512 bytes after `Bearer `. */
const maxBytes = 505;

function requirePresentable(text: string): void {
  const problem = pastedProblem(text);
  if (problem !== undefined) throw new InvalidRequest(`key: ${problem}`);
  if (/\p{Cc}/u.test(text)) {
    throw new InvalidRequest("key: has control characters, and no Authorization header can");
  }
  if (Buffer.byteLength(text) > maxBytes) {
    throw new InvalidRequest(
      `key: has more than ${maxBytes} bytes in UTF-8, and no Authorization header here may`,
    );
  }
}

function prefixOf(text: string, { environment, legacyPrefixes }: Importable): string {
  const [issued, named] = /^qe_sk_(sandbox|live)_/.exec(text) ?? [];
  if (named !== undefined && named !== environment) throw wrongEnvironment("key", named, environment);
  const prefix = issued ?? legacyPrefixes.find((legacy) => text.startsWith(legacy));
  if (prefix !== undefined) return prefix;
  throw new InvalidRequest(
    `key: only keys that begin with ${[...legacyPrefixes, `qe_sk_${environment}_`].join(" or ")} are looked up; ` +
      "the operator adds others to --legacy-prefixes (PATCHBAY_LEGACY_PREFIXES)",
  );
}

function wrongEnvironment(field: string, named: string, served: Environment): InvalidRequest {
  return new InvalidRequest(
    `${field}: is ${named}, and this deployment is ${served}; import it at the ${named} one`,
  );
}

const shownBeyondPrefix = 4;
const unseen = 12;

/**
 * What lists show of the secret. Counted in whole characters: half of one cannot be stored. A secret may hold marks of
 * direction, and what is shown may not.
 */
function hintOf(text: string, prefix: string): string {
  const characters = Array.from(text);
  const shown = Math.min(prefix.length + shownBeyondPrefix, characters.length - unseen);
  const safe = characters.slice(0, shown).map((one) => (isDisplayName(`x${one}`) ? one : "\ufffd"));
  return `${safe.join("")}…`;
}
