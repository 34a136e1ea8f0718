import { readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { paste, temporaryFolder } from "../cli/patchbay.ts";
import { startService } from "../support/service.ts";
import { compare, stepsOf, translated } from "./console.ts";

test("the commands of the page about integrations print what it says", async () => {
  const page = await readFile("docs/integrations.md", "utf8");
  await using folder = await temporaryFolder();
  await using service = await startService();
  const [, bank = ""] = /^```json\n(.*?)^```$/ms.exec(page) ?? [];
  await writeFile(join(folder.path, "bank.json"), bank);
  const here = new Map([
    ["127.0.0.1:7420", new URL(service.url).host],
    ["patchbay integrations", `${resolve("node_modules/.bin/node")} ${resolve("src/main.ts")} integrations`],
  ]);
  const steps = stepsOf(page);
  expect(steps.length).toBeGreaterThan(5);
  for (const step of steps) {
    const command = translated(step.command, here);
    const { stdout } = await paste(
      `cd ${folder.path} && export PATCHBAY_KEY=${service.org.secret} && ${command}`,
    );
    compare(step, stdout, here);
  }
});
