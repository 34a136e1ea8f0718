import { isPublic } from "./secrets.ts";
import { maxToleranceSeconds, type Scheme, type SignatureScheme, signedParts } from "./scheme.ts";

const headerName = /^[a-z0-9!#$%&'*+.^_`|~-]{1,100}$/;
/** Bytes that a header can hold, and no blank at an end, which would be gone when it comes. */
const printable = /^(?:[!-~](?:[ -~]{0,62}[!-~])?)?$/;
const maxTemplates = 4;
const maxTemplateLength = 256;

/** What is wrong with a scheme that a channel brings, in words for whoever wrote it; undefined if it will do. */
export function schemeProblem(scheme: Scheme): string | undefined {
  if (scheme.kind === "basic") return undefined;
  if (scheme.kind === "body-token") {
    return /^(?:\/(?:[^~/]|~[01])+)+$/.test(scheme.pointer) ? undefined : "pointer is no JSON Pointer";
  }
  if (!headerName.test(scheme.header)) return "header must be the name of a header, in lower case";
  if (scheme.kind === "token") {
    return /^[ -~]{0,64}$/.test(scheme.prefix ?? "")
      ? undefined
      : "prefix must be ASCII, of 64 characters at most";
  }
  return signatureProblem(scheme);
}

function signatureProblem(scheme: SignatureScheme): string | undefined {
  const { proofs, signed, time, idHeader, toleranceSeconds = 1, bodyHashParameter } = scheme;
  if (proofs.length === 0 || proofs.length > maxTemplates) return `give 1 to ${maxTemplates} proofs`;
  if (proofs.some(({ prefix = "" }) => !printable.test(prefix))) {
    return "prefix must be ASCII, of 64 characters at most, with no blank at an end";
  }
  if (proofs.some(({ algorithm, secret }) => (algorithm === "ed25519") !== isPublic(secret))) {
    return "a public key goes with ed25519, and with nothing else";
  }
  if (idHeader !== undefined && !headerName.test(idHeader)) {
    return "id_header must be the name of a header, in lower case";
  }
  if (time !== undefined && !headerName.test(time.header)) {
    return "time.header must be the name of a header, in lower case";
  }
  if (time?.header === scheme.header && (time.prefix ?? "") === "") {
    return "time.prefix must say what the time stands after, as it is in the header of the signatures";
  }
  if (!Number.isInteger(toleranceSeconds) || toleranceSeconds < 1 || toleranceSeconds > maxToleranceSeconds) {
    return `tolerance_seconds must be 1 to ${maxToleranceSeconds}`;
  }
  if (bodyHashParameter !== undefined && !/^\w{1,64}$/.test(bodyHashParameter)) {
    return "body_hash_parameter must be letters, digits and underscores";
  }
  if (signed.length === 0 || signed.length > maxTemplates) return `give 1 to ${maxTemplates} texts in signed`;
  return signed.map((template) => templateProblem(template, scheme)).find((problem) => problem !== undefined);
}

/** What is not under the signature could be changed by whoever has one signed request. */
function templateProblem(template: string, { idHeader, time, bodyHashParameter }: SignatureScheme) {
  if (template.length > maxTemplateLength) return `signed must not exceed ${maxTemplateLength} characters`;
  const names = Array.from(template.matchAll(/\{(.*?)\}/g), ([, name]) => name);
  const known: readonly (string | undefined)[] = signedParts;
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined)
    return `signed may hold {${signedParts.join("}, {")}}, and not {${unknown.slice(0, 40)}}`;
  // Twilio's way: the fields of a form, or the hash of what is none.
  const holdsBody = names.includes("body") || (names.includes("form") && bodyHashParameter !== undefined);
  if (!holdsBody) return "signed must hold {body}, or {form} beside a body_hash_parameter";
  if (names.includes("id") !== (idHeader !== undefined)) return "id_header and {id} in signed go together";
  if (names.includes("time") !== (time !== undefined)) return "time and {time} in signed go together";
  return undefined;
}
