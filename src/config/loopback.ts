import { readAddress } from "#src/platform/ip.ts";

/** Whether only this machine can reach an address. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || readAddress(host)?.range() === "loopback";
}
