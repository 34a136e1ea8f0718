import { defineConfig } from "vitest/config";
import everyday from "./vitest.config.ts";

/** The tests that kill, stop and cut whole processes. */
export default defineConfig({
  test: {
    ...everyday.test,
    include: ["test/faults/**/*.test.ts"],
    exclude: [],
    // Each of them runs a service under load; but what fails is often waited for, which leaves the machine to another.
    maxWorkers: 2,
    // A story each, with several starts of the service in it.
    testTimeout: 200_000,
  },
});
