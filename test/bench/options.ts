import { parseArgs } from "node:util";
import type { Effort } from "./rounds.ts";

/** What a bench may be asked beside its name. */
export interface Options extends Effort {
  /** The settings of the Patchbays that are measured side by side, by what tells them apart. */
  readonly variants: readonly Variant[];
  /** Only cells whose names contain this are measured, and what they are compared with. */
  readonly only: string;
}

/** One Patchbay among those that are compared. */
export interface Variant {
  /** Behind the names of its cells; empty if there is one only. */
  readonly suffix: string;
  /** That of the Patchbay that it is compared with. */
  readonly besideSuffix?: string;
  readonly environment: Readonly<Record<string, string>>;
}

/** Reads the command line: the names of benches, and options. */
export function readOptions(args: readonly string[]): { names: readonly string[]; options: Options } {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      rounds: { type: "string", default: "7" },
      "visit-ms": { type: "string", default: "500" },
      lane: { type: "string", default: "" },
      only: { type: "string", default: "" },
    },
  });
  return {
    names: positionals,
    options: {
      rounds: Number(values.rounds),
      visitMs: Number(values["visit-ms"]),
      variants: variantsOf(values.lane),
      only: values.only,
    },
  };
}

function variantsOf(lane: string): Variant[] {
  if (lane === "") return [{ suffix: "", environment: {} }];
  const withLane = (one: string) => ({ PATCHBAY_UNARY_LANE: one });
  if (lane !== "both") return [{ suffix: "", environment: withLane(lane) }];
  return [
    { suffix: ", lane off", environment: withLane("off") },
    { suffix: ", lane on", besideSuffix: ", lane off", environment: withLane("on") },
  ];
}
