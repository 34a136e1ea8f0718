import { pino } from "pino";
import type { Log } from "#src/platform/log.ts";

/** What a line may say of a request. Nothing in it is secret or nested: it is written as it is. */
export type AccessLine = Readonly<Record<string, string | number | true | undefined>>;

/** Where access lines go. */
export type AccessLog = Readonly<
  Record<"debug" | "info" | "warn" | "error", (line: AccessLine, message: string) => void>
>;

/** What every line of a logger begins with. */
interface Beginning {
  /** By level. */
  readonly [pino.symbols.lsCacheSym]: Readonly<Record<number, string>>;
  readonly [pino.symbols.chindingsSym]: string;
}

/**
 * The log that access lines go to. They are byte for byte what pino would write, for less: there is nothing in them to
 * redact by its name, to serialise or to look into. All else stays pino's: the level, the time, the destination, and
 * the hook in which every line loses what looks like a key.
 */
export function accessLogOf(log: Log): AccessLog {
  return Object.assign(log.child({}), { [pino.symbols.asJsonSym]: asJson });
}

function asJson(this: Beginning, line: AccessLine, message: string, level: number, time: string): string {
  let members = "";
  for (const name of Object.keys(line)) {
    const value = line[name];
    if (value !== undefined) members += `,"${name}":${typeof value === "string" ? quoted(value) : value}`;
  }
  const { [pino.symbols.lsCacheSym]: levels, [pino.symbols.chindingsSym]: shared } = this;
  return `${levels[level]}${time}${shared}${members},"msg":${quoted(message)}}\n`;
}

/** Nearly all texts are plain, and that is found out sooner than they are escaped. */
function quoted(text: string): string {
  return /[^ !#-[\]-~]/.test(text) ? JSON.stringify(text) : `"${text}"`;
}
