import type { Pepper } from "#src/crypto/service-keys.ts";

/** What a vendor shows that asks an address for its consent before it sends, such as Meta. It proves nothing of events. */
export function verifyTokenOf(pepper: Pepper, channelId: string): string {
  return pepper(`verify token\0${channelId}`).toString("base64url");
}
