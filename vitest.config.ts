import { resolve } from "node:path";
import { defineConfig } from "vitest/config";

// Of every process and thread that tests start: our TypeScript is compiled once, and not by each anew, which halves
// what a start of the service, a command or a reader of documents costs.
process.env["NODE_COMPILE_CACHE"] ??= resolve("node_modules/.cache/compiled");

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // They have a configuration of their own: `npm run faults`.
    exclude: ["test/faults/**"],
    globalSetup: ["test/support/postgres-setup.ts"],
    // Processes and not threads: tests send signals and start servers.
    pool: "forks",
    maxWorkers: 3,
    isolate: false,
    // Five times what a busy machine was seen to need: a limit that only a test which hangs reaches.
    testTimeout: 100_000,
    expect: { poll: { timeout: 50_000 } },
    hookTimeout: 150_000,
  },
});
