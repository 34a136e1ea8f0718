import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
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
