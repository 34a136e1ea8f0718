import { parseOutboundAllow } from "#src/outbound/allow.ts";
import { createOutbound } from "#src/outbound/outbound.ts";
import { RootKeyRefused, RootKeyUnavailable } from "../errors.ts";
import { SealBroken } from "../seal.ts";
import type { RootKeyParts } from "./open.ts";
import type { KeyService } from "./remote.ts";
import { createVaultClient, type VaultAnswer } from "./vault-client.ts";
import type { VaultPlace } from "./vault-place.ts";
import { createVaultToken } from "./vault-token.ts";

/** A key of the transit engine of HashiCorp Vault or OpenBao. */
export function vaultTransit(place: VaultPlace, { vaultToken: given, log }: RootKeyParts): KeyService {
  const { host } = new URL(place.address);
  // A client of its own: that Vault may be called from here must not let connections call it.
  const outbound = createOutbound({ allow: parseOutboundAllow(host) });
  const client = createVaultClient(place, outbound);
  const token = createVaultToken({ auth: place.auth, client, given, log });
  const { mount, key } = place;
  const shown = [place.namespace, mount, key].filter((part) => part !== undefined).join("/");

  /** A token may have ended or been revoked since: it is obtained again, once. */
  async function ask(
    operation: "encrypt" | "decrypt",
    body: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<VaultAnswer> {
    const path = `${mount}/${operation}/${key}`;
    const first = await token.get();
    const answer = await client.post(path, { token: first, body, signal });
    if (answer.status !== 403) return answer;
    token.replace(first);
    const second = await token.get();
    return second === first ? answer : client.post(path, { token: second, body, signal });
  }

  return {
    // Without the address: the same key is found at many of them, and moves to others.
    id: `vault:${shown}`,

    async wrap(plain, context, signal) {
      const body = { plaintext: plain.toString("base64"), associated_data: encoded(context) };
      const answer = await ask("encrypt", body, signal);
      if (answer.status !== 200) throw refusal(shown, answer);
      const { ciphertext } = answer.data;
      if (typeof ciphertext !== "string" || !/^vault:v\d+:/.test(ciphertext)) throw unexpected();
      return Buffer.from(ciphertext);
    },

    async unwrap(wrapped, context, signal) {
      const body = { ciphertext: wrapped.toString(), associated_data: encoded(context) };
      const answer = await ask("decrypt", body, signal);
      if (answer.status === 400 && isBroken(answer.errors)) throw new SealBroken();
      if (answer.status !== 200) throw refusal(shown, answer);
      const { plaintext } = answer.data;
      if (typeof plaintext !== "string" || plaintext === "") throw unexpected();
      return Buffer.from(plaintext, "base64");
    },
  };
}

function encoded(text: string): string {
  return Buffer.from(text).toString("base64");
}

function unexpected(): RootKeyUnavailable {
  return new RootKeyUnavailable(
    new Error("Vault did not answer as it should: check that the URL leads to Vault"),
  );
}

/** What the transit engine says of bytes that it did not make so. */
function isBroken(errors: string): boolean {
  return /message authentication failed|invalid ciphertext|unable to decrypt/i.test(errors);
}

function refusal(key: string, { status, errors }: VaultAnswer): RootKeyRefused {
  return new RootKeyRefused(`Vault refuses ${key} with status ${status}: ${adviceFor(status, errors)}`);
}

function adviceFor(status: number, errors: string): string {
  if (status >= 300 && status < 400) {
    return "give the address of the active node, such as active.vault.service.consul, and the scheme that it speaks";
  }
  if (status === 403) {
    return "let the policy of the token update encrypt/KEY and decrypt/KEY of the transit engine, and see that the token has not ended";
  }
  if (status === 404) return "check the mount of the transit engine, and the namespace";
  if (/key not found/i.test(errors))
    return "there is no such key: check its name, or make it with type=aes256-gcm96";
  if (/disallowed by policy|too old/i.test(errors))
    return "lower the key's min_decryption_version: what is stored is older";
  if (/context/i.test(errors)) return "the key is a derived one: make one with derived=false";
  return "make a key with type=aes256-gcm96, which authenticates what it belongs to";
}
