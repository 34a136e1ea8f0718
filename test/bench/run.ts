import { run as flood } from "./flood.ts";
import { run as growth } from "./growth.ts";
import { run as killStorm } from "./kill-storm.ts";
import { readOptions, type Options } from "./options.ts";
import { run as overTheWire } from "./over-the-wire.ts";
import { run as revocation } from "./revocation.ts";
import { run as start } from "./start.ts";
import { run as verifyKey } from "./verify-key.ts";

interface Bench {
  readonly title: string;
  /** Prints its figures, or answers them. */
  run(options: Options): Promise<object | void>;
}

const benches: Record<string, Bench> = {
  "over-the-wire": { title: "Over the wire: server CPU and latency of a call", run: overTheWire },
  growth: { title: "Growth: a call with more stored, and with more callers", run: growth },
  "verify-key": { title: "VerifyKey in process: median of five rounds, lowest to highest", run: verifyKey },
  revocation: { title: "Revocation: until another replica refuses a key that it remembers", run: revocation },
  flood: { title: "Flood: memory that callers cost who read no answer", run: flood },
  start: { title: "Start: until a used data folder serves again, and memory at rest", run: start },
  "kill-storm": {
    title: "Kill storm: a row and its audit event, while backends are killed",
    run: () => killStorm(),
  },
};

const { names: asked, options } = readOptions(process.argv.slice(2));
const unknown = asked.filter((name) => !Object.hasOwn(benches, name));
if (unknown.length > 0) {
  console.error(`no bench ${unknown.join(", ")}; there are ${Object.keys(benches).join(", ")}`);
  process.exit(2);
}

// Only ratios within one run say anything: machines differ, and so do their moods.
for (const [name, { title, run }] of Object.entries(benches)) {
  if (asked.length > 0 && !asked.includes(name)) continue;
  console.log(title);
  const figures = await run(options);
  if (figures !== undefined) console.log(figures);
  console.log();
}
process.exit(0);
