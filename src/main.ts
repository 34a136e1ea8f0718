import { listenForSignals } from "./cli/signals.ts";

// Only then is the program loaded: a signal that comes meanwhile is heard as well, also by a process with id 1, for
// which there is no default that would end it.
listenForSignals();
const { runCli } = await import("./cli/program.ts");
await runCli(process.argv);
