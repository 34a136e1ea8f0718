import { run as killStorm } from "./kill-storm.ts";
import { run as whoAmI } from "./who-am-i.ts";

// Each prints its own figures. Only ratios within one run say anything: machines differ, and so do their moods.
console.log("WhoAmI: server CPU per call");
await whoAmI();
console.log("\nKill storm: a row and its audit event, while backends are killed");
console.log(await killStorm());
process.exit(0);
