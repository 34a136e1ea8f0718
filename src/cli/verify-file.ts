import { createReadStream } from "node:fs";
import { NotAnExport } from "#src/audit/errors.ts";
import { exportLines } from "#src/audit/export-lines.ts";
import { verifyExport, type ExportVerdict } from "#src/audit/verify-export.ts";
import { parseHead } from "./known-head.ts";
import { readPublicKey } from "./public-key.ts";
import { counted, printable } from "./print.ts";

/** `patchbay audit verify FILE`: one line on stdout; answers whether the file is what the service exported. */
export async function verifyFile(
  file: string,
  given: { readonly publicKey: string | undefined; readonly head: string | undefined },
): Promise<boolean> {
  const known = parseHead(given.head);
  const publicKey = await readPublicKey(given.publicKey);
  const input = file === "-" ? process.stdin : createReadStream(file);
  try {
    const verdict = await verifyExport(exportLines(input), publicKey, known);
    const { fault } = verdict;
    const text = fault ? `event ${fault.seq}: ${fault.problem}` : describe(verdict, publicKey !== undefined);
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

function describe(
  { events, from, isSignedStart, head, at, signatures }: ExportVerdict,
  isChecked: boolean,
): string {
  const begin = isSignedStart ? " since older ones were removed" : ", to which an earlier export must lead";
  return [
    `${events} events`,
    ...(from.seq > 0n ? [`behind ${from.seq}:${from.hash.toString("hex")}${begin}`] : []),
    `head ${head.seq}:${head.hash.toString("hex")}`,
    isChecked
      ? `exported at ${at?.toISOString()}, ${counted(signatures, "signature")}`
      : "signatures were not checked: give --public-key",
  ].join(", ");
}
