import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { NotAnExport, verifyExport, type ExportVerdict } from "#src/audit/verify-export.ts";
import { readPublicKey } from "./public-key.ts";
import { counted, printable } from "./print.ts";

/** `patchbay audit verify FILE`: one line on stdout; answers whether the file is what the service exported. */
export async function verifyFile(file: string, publicKeyFile: string | undefined): Promise<boolean> {
  const publicKey = await readPublicKey(publicKeyFile);
  const input = file === "-" ? process.stdin : createReadStream(file);
  try {
    const lines = createInterface({ input, crlfDelay: Infinity });
    // Otherwise a file that cannot be read is an error that nobody listens to.
    const failed = new Promise<never>((_, reject) => input.once("error", reject));
    const verdict = await Promise.race([verifyExport(lines, publicKey), failed]);
    const fault = faultOf(verdict, publicKey !== undefined);
    const text = fault ?? describe(verdict, publicKey !== undefined);
    process.stdout.write(
      `${fault === undefined ? "ok   " : "FAULT"}  ${printable(verdict.orgId)}  ${printable(text)}\n`,
    );
    return fault === undefined;
  } catch (error) {
    if (error instanceof NotAnExport) {
      process.stdout.write(`FAULT  ${file}  ${error.message}\n`);
      return false;
    }
    const { code } = error as NodeJS.ErrnoException;
    throw code === undefined ? error : new Error(`${file} cannot be read (${code})`);
  }
}

function faultOf(verdict: ExportVerdict, isChecked: boolean): string | undefined {
  const { fault, from, isSignedStart, head, signedUpTo } = verdict;
  if (fault !== undefined) return `event ${fault.seq}: ${fault.problem}`;
  if (!isChecked) return undefined;
  const isWhole = from.seq === 0n || isSignedStart;
  if (isWhole && signedUpTo !== head.seq)
    return `event ${(signedUpTo ?? from.seq) + 1n}: it is not signed, nor what follows`;
  return signedUpTo === undefined ? "nothing in it is signed by this key" : undefined;
}

function describe(
  { events, from, isSignedStart, head, signedUpTo, signatures }: ExportVerdict,
  isChecked: boolean,
): string {
  const begin = isSignedStart ? " since older ones were removed" : ", to which an earlier export must lead";
  return [
    `${events} events`,
    ...(from.seq > 0n ? [`behind ${from.seq}:${from.hash.toString("hex")}${begin}`] : []),
    `head ${head.seq}:${head.hash.toString("hex")}`,
    isChecked
      ? `signed up to event ${signedUpTo}, ${counted(signatures, "signature")}`
      : "signatures were not checked: give --public-key",
  ].join(", ");
}
