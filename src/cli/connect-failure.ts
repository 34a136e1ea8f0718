import type { Address } from "#src/db/address.ts";
import { ConnectionLost } from "#src/db/errors.ts";

/** Why the database could not be reached, and what the operator may do about it. */
export function explainConnectFailure(error: unknown, address: Address): string {
  const { code, message } =
    error instanceof ConnectionLost ? error : { code: undefined, message: String(error) };
  const explain = code?.startsWith("ERR_SSL_") === true ? brokenTls : explanations[code ?? ""];
  return explain === undefined ? message : explain(address, message);
}

type Explain = (address: Address, message: string) => string;

const unreachable: Explain = (address) =>
  `no answer from ${placeOf(address)} within 5 seconds: check host and port, and whether a firewall stands between`;
const brokenTls: Explain = (_, message) =>
  `${message}: TLS 1.2 or 1.3 could not be agreed on; see the log of the server`;
const untrusted: Explain = (_, message) =>
  `${message}: the server's certificate is signed by an authority that is not known here; name a file with the ` +
  "authority's certificate as sslrootcert. sslmode=require, without channel_binding=require, does not check which " +
  "server it is";

const explanations: Readonly<Record<string, Explain | undefined>> = {
  ECONNREFUSED: (address) =>
    `nothing listens at ${placeOf(address)} (ECONNREFUSED): check host and port, and that Postgres runs`,
  ENOENT: (address) =>
    `there is no ${placeOf(address)}: check the folder and the port, and that Postgres runs`,
  EACCES: (address) => `this user may not use ${placeOf(address)} (EACCES)`,
  ENOTFOUND: ({ host }) => `the host ${host} is not known (ENOTFOUND): check its name`,
  EAI_AGAIN: ({ host }) =>
    `the host ${host} could not be looked up (EAI_AGAIN): check the name server of this machine`,
  NO_ANSWER: unreachable,
  ETIMEDOUT: unreachable,
  EHOSTUNREACH: unreachable,
  ENETUNREACH: unreachable,
  NO_POSTGRES: (address) => `the server at ${placeOf(address)} is not Postgres: check host and port`,
  TLS_NOT_OFFERED: (address) =>
    `the server at ${placeOf(address)} does not speak TLS, which the URL asks for: switch it on there (ssl = on), or ` +
    "write sslmode=disable if the network between is private",
  ERR_TLS_CERT_ALTNAME_INVALID: ({ host }) =>
    `the server's certificate is for another name than ${host}: write the name that it is for`,
  CERT_HAS_EXPIRED: () => "the server's certificate has expired: renew it",
  DEPTH_ZERO_SELF_SIGNED_CERT: untrusted,
  SELF_SIGNED_CERT_IN_CHAIN: untrusted,
  UNABLE_TO_GET_ISSUER_CERT: untrusted,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: untrusted,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: untrusted,
  "28P01": ({ password }, message) =>
    password === undefined ? `${message}: the URL has no password` : `${message}: check user and password`,
  "28000": ({ tls }, message) => {
    if (tls?.mode === "disable") return `${message}: the server may ask for TLS; leave out sslmode=disable`;
    return `${message}: check user, password and sslcert, and which users pg_hba.conf there lets in`;
  },
  "3D000": (_, message) => `${message}: create it, or write the name of another`,
  "53300": (_, message) => `${message}: raise max_connections there, or end other clients`,
  "57P03": (_, message) => `${message}: wait until it has started`,
};

function placeOf({ host, target }: Address): string {
  if ("path" in target) return `socket ${target.path}`;
  const name = host.includes(":") ? `[${host}]` : host;
  return `${name}:${target.port}${target.host === host ? "" : ` (${target.host})`}`;
}
