import { resolve } from "node:path";
import { parseRootKeyUrl, type RootKeyPlace } from "#src/crypto/root-keys/place.ts";
import { parseAddress } from "#src/db/address.ts";
import { parseOutboundAllow } from "#src/outbound/allow.ts";
import { Secret } from "#src/platform/secret.ts";
import { Problem } from "./setting.ts";

/** The text, unchanged. */
export const text = (given: string) => given;

/** A file or folder, relative to the current folder. */
export const path = (given: string) => resolve(given);

/** A text that no log, error or answer shows. */
export const secret = (given: string) => Secret.fromText(given);

/** Where a root key is kept that the service never sees. */
export function rootKeyUrl(given: string): RootKeyPlace {
  try {
    return parseRootKeyUrl(given);
  } catch (error) {
    throw new Problem((error as Error).message);
  }
}

/** A file, or a URL without what a log may not show. */
export function anchorPlace(given: string): string {
  if (!/^https?:/i.test(given)) return resolve(given);
  const url = URL.parse(given);
  if (url !== null && [url.username, url.password, url.search, url.hash].every((part) => part === ""))
    return url.href;
  throw new Problem(
    "give a file, or a URL such as https://anchors.example/patchbay, without user, query or fragment",
  );
}

export function wholeNumber(min: number, max: number): (given: string) => number {
  return (given) => {
    const number = Number(given);
    if (/^\d{1,9}$/.test(given) && number >= min && number <= max) return number;
    throw new Problem(`give a whole number from ${min} to ${max}, not ${JSON.stringify(given)}`);
  };
}

export function oneOf<const Values extends readonly string[]>(
  ...values: Values
): (given: string) => Values[number] {
  return (given) => {
    const found = values.find((value) => value === given);
    if (found !== undefined) return found;
    throw new Problem(`give one of ${values.join(", ")}, not ${JSON.stringify(given)}`);
  };
}

export function slug(given: string): string {
  if (/^[a-z0-9][a-z0-9-]{0,62}$/.test(given)) return given;
  throw new Problem(`give lower-case letters, digits and hyphens, at most 63, not ${JSON.stringify(given)}`);
}

export function postgresUrl(given: string): Secret {
  try {
    parseAddress(given);
  } catch (error) {
    // It may hold a password, so the message does not repeat it.
    throw new Problem((error as Error).message);
  }
  return Secret.fromText(given);
}

export function keyPrefixes(given: string): string[] {
  if (given.trim() === "none") return [];
  const list = given.split(",").map((prefix) => prefix.trim());
  for (const prefix of list) {
    // With a prefix of our own keys among them, it would be unclear whether a key names its environment.
    const isOurs = prefix.startsWith("qe_sk_") || "qe_sk_".startsWith(prefix);
    if (isOurs || !/^[A-Za-z0-9_-]{1,31}[_-]$/.test(prefix)) {
      throw new Problem(
        "give prefixes such as qedi_, of 2 to 32 letters, digits, _ and -, with _ or - at the end, and none that " +
          `qe_sk_ keys have, not ${JSON.stringify(prefix)}`,
      );
    }
  }
  return list;
}

export function redisUrl(given: string): Secret {
  if (isRedisUrl(given)) return Secret.fromText(given);
  throw new Problem(
    "give a URL such as redis://user:password@host:6379/0, or rediss:// for TLS, with special characters " +
      "percent-encoded and a number as database",
  );
}

function isRedisUrl(given: string): boolean {
  const url = URL.parse(given);
  if (url === null || !/^rediss?:$/.test(url.protocol) || url.hostname === "") return false;
  // A part that would be ignored was most likely meant to belong to the password.
  if (!/^(\/\d*)?$/.test(url.pathname) || url.search !== "" || url.hash !== "") return false;
  return [url.username, url.password].every(isPercentEncoded);
}

function isPercentEncoded(given: string): boolean {
  try {
    decodeURIComponent(given);
    return true;
  } catch {
    return false;
  }
}

/** A list that `parseOutboundAllow` reads; empty for public addresses only. */
export function outboundAllow(given: string): string {
  if (given === "none") return "";
  try {
    parseOutboundAllow(given);
    return given;
  } catch (error) {
    throw new Problem((error as Error).message);
  }
}

/** Where something is asked over HTTP. No password: it would be seen by every user of the machine. */
export function httpUrl(given: string): string {
  const url = URL.parse(given);
  const isPlain = url?.username === "" && url.password === "" && url.search === "" && url.hash === "";
  if (isPlain && /^https?:$/.test(url.protocol)) return url.href;
  throw new Problem("give a URL such as http://collector:4318, without a password, query or fragment");
}

export function origin(given: string): string {
  const [only, ...others] = origins(given);
  if (only !== undefined && others.length === 0 && /^https?:/.test(only)) return only;
  throw new Problem(`give one origin, such as https://patchbay.example, not ${JSON.stringify(given)}`);
}

export function origins(given: string): string[] {
  const list = given.split(",").flatMap((item) => item.trim() || []);
  for (const origin of list) {
    if (!URL.canParse(origin) || new URL(origin).origin !== origin) {
      throw new Problem(
        `give origins such as https://app.example, without path or slash at the end, not ${JSON.stringify(origin)}`,
      );
    }
  }
  return list;
}
