import pino, { type DestinationStream } from "pino";
import type { Config } from "#src/config/config.ts";
import { createKeyShapes } from "#src/platform/key-shapes.ts";
import type { Log } from "#src/platform/log.ts";
import { createIsoTime } from "./iso-time.ts";

/** Where a process writes its log; 1 is its stdout and 2 its stderr. */
export function fileDescriptor(number: 1 | 2): DestinationStream {
  return pino.destination({ dest: number, sync: true });
}

/** The log of the service; that of a worker names it in each line. */
export function createServiceLog({ logLevel, legacyPrefixes }: Config, worker?: number): Log {
  const style = process.stdout.isTTY ? "readable" : "json";
  return createLog(logLevel, fileDescriptor(1), { style, legacyPrefixes, worker });
}

interface LogOptions {
  readonly style?: "json" | "readable";
  /** What keys of earlier systems begin with. */
  readonly legacyPrefixes?: readonly string[];
  /** The number of the worker that writes it; undefined for a service of one process, and for the primary. */
  readonly worker?: number | undefined;
}

/** The service's log: a line for each event, of JSON or for people on a terminal. */
export function createLog(
  level: Config["logLevel"],
  destination: DestinationStream,
  { style = "json", legacyPrefixes = [], worker }: LogOptions = {},
): Log {
  const keys = createKeyShapes(legacyPrefixes);
  return pino(
    {
      level,
      base: worker === undefined ? null : { worker },
      timestamp: createIsoTime(Date.now),
      // Nothing logs these on purpose. An error that carries a request or a setting must not do it either.
      redact: { paths: redacted.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]), censor: "[secret]" },
      hooks: {
        streamWrite(line) {
          const safe = keys.redact(line);
          return style === "json" ? safe : forPeople(safe);
        },
      },
    },
    destination,
  );
}

const redacted = [
  "apiKey",
  "secret",
  "authorization",
  "cookie",
  "password",
  "token",
  "rootKey",
  "secondRootKey",
  "databaseUrl",
  "rateLimitUrl",
  "vaultToken",
];

function forPeople(line: string): string {
  const { level, time, msg, ...facts } = JSON.parse(line) as { level: number; time: string; msg: string };
  const shown = Object.entries(facts).map(([name, value]) => `${name}=${plain(value)}`);
  return `${[time.slice(11, 19), pino.levels.labels[level]?.padEnd(5), msg, ...shown].join(" ")}\n`;
}

/** As JSON unless it is a simple word: what comes from outside must not move the cursor of a terminal. */
function plain(value: unknown): string {
  return typeof value === "string" && /^[\w./:@-]+$/.test(value) ? value : JSON.stringify(value);
}
