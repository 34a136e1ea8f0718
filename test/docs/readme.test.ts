import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { hasTerminal, paste, patchbayOnTerminal, temporaryFolder } from "../cli/patchbay.ts";
import { compare, stepsOf, translated } from "./console.ts";

test.skipIf(!hasTerminal)(
  "the README's commands print what the README says",
  { timeout: 60_000 },
  async () => {
    await using folder = await temporaryFolder();
    const dataDir = join(folder.path, "data");
    const [clone, start, ...steps] = stepsOf(readFileSync("README.md", "utf8"));
    expect([clone?.command, start?.command]).toStrictEqual([
      expect.stringMatching(/^git clone /),
      "npm ci && npm start",
    ]);
    expect(steps.length).toBeGreaterThan(8);

    const npmStart = `npm start --silent -- --port 0 --data-dir ${dataDir}`;
    await using service = patchbayOnTerminal(npmStart);
    const url = await service.ready();
    // What the README's ids, keys and address are here.
    const here = new Map([["http://127.0.0.1:7420", url]]);
    const screen = service.stdout().replaceAll("\r", "").replaceAll(dataDir, "./data");
    const shown = screen.slice(0, screen.indexOf("\n", screen.indexOf(" ready ")));
    compare({ ...start!, output: start!.output.replace(/^(> .*\n)+\n/, "") }, shown, here);

    let exports = "";
    for (const step of steps) {
      const command = translated(step.command, here);
      if (command.startsWith("export ")) exports += `${command}\n`;
      else compare(step, (await paste(exports + command)).stdout, here);
    }
  },
);
