import { parseArgs } from "node:util";
import { oneOf, wholeNumber } from "#src/config/parse.ts";
import { Problem } from "#src/config/setting.ts";
import type { Effort } from "./rounds.ts";

/** What a bench may be asked beside its name. */
export interface Options extends Effort {
  /** The settings of the Patchbays that are measured side by side, by what tells them apart. */
  readonly variants: readonly Variant[];
  /** Only cells whose names contain this are measured, and what they are compared with. */
  readonly only: string;
  /** The size of large bodies. */
  readonly mebibytes: number;
}

/** One Patchbay among those that are compared. */
export interface Variant {
  /** Behind the names of its cells; empty if there is one only. */
  readonly suffix: string;
  /** That of the Patchbay that it is compared with. */
  readonly besideSuffix?: string;
  readonly environment: Readonly<Record<string, string>>;
}

/** The command line asks for something that there is not; the message says what there is. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

const known = {
  rounds: { type: "string" },
  "visit-ms": { type: "string" },
  lane: { type: "string" },
  only: { type: "string" },
  mib: { type: "string" },
} as const;

/** The name of an option. */
export type OptionName = keyof typeof known;

/** What each bench does with its name and options. */
export type Taken = Readonly<Record<string, readonly OptionName[]>>;

/** Reads the command line: the names of benches, all if there are none, and options that each of them takes. */
export function readOptions(
  args: readonly string[],
  taken: Taken,
): { names: readonly string[]; options: Options } {
  const { values, positionals: names } = parsed(args);
  const given = (Object.keys(known) as OptionName[]).filter((option) => values[option] !== undefined);
  for (const name of names) {
    const takes = Object.hasOwn(taken, name) ? taken[name] : undefined;
    if (takes === undefined)
      throw new UsageError(`no bench ${name}; there are ${Object.keys(taken).join(", ")}`);
    const option = given.find((one) => !takes.includes(one));
    if (option !== undefined) throw new UsageError(`the bench ${name} takes no --${option}`);
  }
  const lane = values.lane;
  return {
    names: names.length > 0 ? names : Object.keys(taken),
    options: {
      rounds: checked("rounds", wholeNumber(1, 1_000), values.rounds ?? "7"),
      visitMs: checked("visit-ms", wholeNumber(1, 600_000), values["visit-ms"] ?? "500"),
      variants:
        lane === undefined
          ? [{ suffix: "", environment: {} }]
          : variantsOf(checked("lane", oneOf("on", "off", "both"), lane)),
      only: values.only ?? "",
      mebibytes: checked("mib", wholeNumber(1, 65_536), values.mib ?? "1024"),
    },
  };
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], allowPositionals: true, options: known });
  } catch (error) {
    // Its messages say what is wrong with which argument.
    throw new UsageError((error as Error).message);
  }
}

function checked<T>(option: OptionName, parse: (given: string) => T, given: string): T {
  try {
    return parse(given);
  } catch (error) {
    throw error instanceof Problem ? new UsageError(`--${option}: ${error.message}`) : error;
  }
}

function variantsOf(lane: "on" | "off" | "both"): Variant[] {
  const withLane = (one: string) => ({ PATCHBAY_UNARY_LANE: one });
  if (lane !== "both") return [{ suffix: "", environment: withLane(lane) }];
  return [
    { suffix: ", lane off", environment: withLane("off") },
    { suffix: ", lane on", besideSuffix: ", lane off", environment: withLane("on") },
  ];
}
