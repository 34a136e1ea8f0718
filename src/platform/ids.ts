import { randomBytes } from "node:crypto";

const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/**
 * A new id such as `scn_01HXY…`: the prefix and a ULID, so that ids sort by the time they were made.
 * See https://github.com/ulid/spec.
 */
export function newId(prefix: "org" | "usr" | "key" | "scn" | "chn" | "grp" | "whe", now: Date): string {
  let time = now.getTime();
  let text = "";
  for (let i = 0; i < 10; i++) {
    text = alphabet.charAt(time % 32) + text;
    time = Math.floor(time / 32);
  }
  for (const byte of randomBytes(16)) text += alphabet.charAt(byte & 31);
  return `${prefix}_${text}`;
}
