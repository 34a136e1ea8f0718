import { run as catalog } from "./catalog.ts";
import { run as events } from "./events.ts";
import { run as flood } from "./flood.ts";
import { run as growth } from "./growth.ts";
import { run as importing } from "./import.ts";
import { run as proxy } from "./proxy.ts";
import { readOptions, UsageError, type OptionName, type Options } from "./options.ts";
import { run as overTheWire } from "./over-the-wire.ts";
import { run as receive } from "./receive.ts";
import { run as refreshStorm } from "./refresh-storm.ts";
import { run as revocation } from "./revocation.ts";
import { run as start } from "./start.ts";
import { run as sweep } from "./sweep.ts";
import { run as validateInput } from "./validate-input.ts";
import { run as verifyKey } from "./verify-key.ts";
import { run as webhooks } from "./webhooks.ts";
import { run as workers } from "./workers.ts";

interface Bench {
  readonly title: string;
  readonly takes: readonly OptionName[];
  /** Prints its figures, or answers them. */
  run(options: Options): Promise<object | void>;
}

const benches: Record<string, Bench> = {
  "over-the-wire": {
    title: "Over the wire: server CPU and latency of a call",
    takes: ["rounds", "visit-ms", "lane", "only"],
    run: overTheWire,
  },
  proxy: {
    title: "Proxy: server CPU and latency of requests that are passed on, and memory meanwhile",
    takes: ["rounds", "visit-ms", "only", "mib"],
    run: proxy,
  },
  growth: {
    title: "Growth: a call with more stored, and with more callers",
    takes: ["rounds", "visit-ms", "only"],
    run: growth,
  },
  workers: {
    title: "Workers: calls a second of one process and of two workers, and the CPU time of all processes",
    takes: ["rounds", "visit-ms"],
    run: workers,
  },
  "verify-key": {
    title: "VerifyKey in process: median of five rounds, lowest to highest",
    takes: [],
    run: verifyKey,
  },
  catalog: {
    title: "Catalog: ten services of 1,000 endpoints listed, 50,000 operations searched, beside a neighbour",
    takes: ["rounds"],
    run: catalog,
  },
  "validate-input": {
    title: "ValidateInput: median of calls one after another over REST, beside the least that a call takes",
    takes: [],
    run: validateInput,
  },
  revocation: {
    title: "Revocation: until another replica refuses a key that it remembers",
    takes: [],
    run: revocation,
  },
  flood: { title: "Flood: memory that callers cost who read no answer", takes: [], run: flood },
  import: {
    title: "Import: documents of real services, and what other callers notice meanwhile",
    takes: [],
    run: importing,
  },
  start: {
    title: "Start: until a used data folder serves again, and memory at rest",
    takes: ["rounds"],
    run: start,
  },
  events: {
    title:
      "Events: accepting in process with 256 callers, beside a row per request; CPU with that of Postgres",
    takes: ["rounds", "visit-ms"],
    run: events,
  },
  receive: {
    title:
      "Receive: signed webhooks over HTTP with 256 callers, beside a row per request; CPU with that of Postgres",
    takes: ["rounds", "visit-ms"],
    run: receive,
  },
  "refresh-storm": {
    title: "Refresh storm: 4 processes with 25 calls each, on a grant whose refresh tokens are good once",
    takes: [],
    run: refreshStorm,
  },
  sweep: {
    title: "Sweep: 100,000 due connections with a probe that takes nothing, and 2,000 services",
    takes: [],
    run: sweep,
  },
  webhooks: {
    title: "Webhooks: 10,000 endpoints that get 20 events each, and 200 of them that hang",
    takes: [],
    run: webhooks,
  },
};

/** Only ratios within one run say anything: machines differ, and so do their moods. */
async function runAsked(): Promise<void> {
  const taken = Object.fromEntries(Object.entries(benches).map(([name, { takes }]) => [name, takes]));
  const { names, options } = readOptions(process.argv.slice(2), taken);
  for (const [name, { title, run }] of Object.entries(benches)) {
    if (!names.includes(name)) continue;
    console.log(title);
    const figures = await run(options);
    if (figures !== undefined) console.log(figures);
    console.log();
  }
}

try {
  await runAsked();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(error.message);
  process.exit(2);
}
process.exit(0);
