import { createHash, createPrivateKey, X509Certificate, type KeyObject } from "node:crypto";
import { createSecureContext, type SecureContext } from "node:tls";
import { InvalidOutboundRequest } from "./errors.ts";
import type { Injection } from "./injection.ts";

type ClientCertificate = NonNullable<Injection["certificate"]>;

/**
 * What is wrong with a client certificate and its key, both in PEM; undefined for a pair that can be shown in a TLS
 * handshake. The text names the one that is wrong, and repeats nothing of them.
 */
export function certificateProblem(certificate: string, privateKey: string): string | undefined {
  const leaf = readCertificate(certificate);
  if (leaf === undefined) {
    return "certificate: give it in PEM, from -----BEGIN CERTIFICATE----- on, with the certificates behind it that vouch for it";
  }
  const key = readKey(privateKey);
  if (key === "encrypted") return "privateKey: it is encrypted; give it without a passphrase";
  if (key === undefined) return "privateKey: give it in PEM, from -----BEGIN PRIVATE KEY----- on";
  if (!leaf.checkPrivateKey(key)) {
    return "privateKey: it is not the key of the first certificate; put the client's own certificate first";
  }
  try {
    createSecureContext({ cert: certificate, key: privateKey });
    return undefined;
  } catch {
    return "certificate: TLS does not take it; check that all of its certificates are complete and that its key is long enough";
  }
}

/** What the handshake shows. Its key is in memory as long as it is. */
export function shownCertificate({ certificate, privateKey }: ClientCertificate): SecureContext {
  // TLS itself would take an empty one for none.
  const problem = certificateProblem(certificate, privateKey);
  if (problem !== undefined) throw new InvalidOutboundRequest(`${problem}; store the credential again`);
  return createSecureContext({ cert: certificate, key: privateKey });
}

/** Tells certificates and their keys from others, and is neither. */
export function certificateName({ certificate, privateKey }: ClientCertificate): string {
  return createHash("sha256")
    .update(JSON.stringify([certificate, privateKey]))
    .digest("base64");
}

function readCertificate(pem: string): X509Certificate | undefined {
  try {
    return pem.includes("-----BEGIN") ? new X509Certificate(pem) : undefined;
  } catch {
    return undefined;
  }
}

function readKey(pem: string): KeyObject | "encrypted" | undefined {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    const { code } = error as { code?: unknown };
    return code === "ERR_MISSING_PASSPHRASE" || /-----BEGIN ENCRYPTED|Proc-Type: 4,ENCRYPTED/.test(pem)
      ? "encrypted"
      : undefined;
  }
}
