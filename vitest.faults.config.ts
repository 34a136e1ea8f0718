import { defineConfig } from "vitest/config";
import everyday from "./vitest.config.ts";

/** The tests that kill, stop and cut whole processes. */
export default defineConfig({
  test: {
    ...everyday.test,
    include: ["test/faults/**/*.test.ts"],
    exclude: [],
    // One file at a time: each of them runs a service under load, and what it waits for depends on the machine.
    maxWorkers: 1,
  },
});
