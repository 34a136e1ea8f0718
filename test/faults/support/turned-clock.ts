import { readFileSync, rmSync } from "node:fs";

// Loaded into a service before anything else: its clock is the machine's, turned by what the file says, which is read
// at SIGUSR2 and removed. Only what JavaScript sees is turned, as a wrong clock on the machine would: timers and
// performance.now() go on as they are.
const Machine = Date;
const file = process.env["CLOCK_FILE"] ?? "";
let turnedMs = 0;

function turn(): void {
  turnedMs = Number(readFileSync(file, "utf8"));
  rmSync(file);
}

class TurnedDate extends Machine {
  constructor(...given: readonly unknown[]) {
    if (given.length === 0) super(TurnedDate.now());
    else super(...(given as [number]));
  }

  static override now(): number {
    return Machine.now() + turnedMs;
  }
}

if (file !== "") {
  globalThis.Date = TurnedDate as DateConstructor;
  process.on("SIGUSR2", turn);
}
