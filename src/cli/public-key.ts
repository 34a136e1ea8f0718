import { createPublicKey, type KeyObject } from "node:crypto";
import { readFile } from "node:fs/promises";

/** The public key in a file, which `--public-key` names; undefined without one. */
export async function readPublicKey(file: string | undefined): Promise<KeyObject | undefined> {
  if (file === undefined) return undefined;
  const text = await readFile(file, "utf8").catch(({ code }: NodeJS.ErrnoException) => {
    throw new Error(`--public-key: ${file} cannot be read (${code})`);
  });
  const key = parsed(text);
  if (key?.asymmetricKeyType === "ed25519") return key;
  throw new Error(`--public-key: ${file} holds no Ed25519 key in PEM; GET /api/audit/key answers one`);
}

function parsed(text: string): KeyObject | undefined {
  try {
    return createPublicKey(text);
  } catch {
    return undefined;
  }
}
