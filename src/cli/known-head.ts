import type { Head } from "#src/audit/verify-chain.ts";

/** A head that was kept elsewhere, as `--head` has it; undefined without one. */
export function parseHead(text: string | undefined): Head | undefined {
  if (text === undefined) return undefined;
  const [, seq, hash] = /^(\d{1,18}):([0-9a-f]{64})$/i.exec(text) ?? [];
  if (seq === undefined || hash === undefined) {
    throw new Error(
      "--head: give a number, a colon and 64 hexadecimal digits, as an earlier verification printed them or an anchor has them",
    );
  }
  return { seq: BigInt(seq), hash: Buffer.from(hash, "hex") };
}
