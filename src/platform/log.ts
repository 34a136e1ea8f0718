import type { Logger } from "pino";

/** Where the service writes what operators read. */
export type Log = Logger;
