import { readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { newDemo } from "#src/demo/demo.ts";
import { paste, temporaryFolder } from "../cli/patchbay.ts";
import { startService } from "../support/service.ts";
import { compare, stepsOf, translated } from "./console.ts";

test(
  "the commands of the pages about integrations, actions, events, the catalog and the command line print what they say",
  { timeout: 120_000 },
  async () => {
    await using folder = await temporaryFolder();
    await using service = await startService();
    const { baseUrl, token: apiKey, close } = await newDemo();
    await using demo = new AsyncDisposableStack();
    demo.defer(close);
    const echo = { serviceSlug: "custom:echo", baseUrl, apiKey };
    await service.org.client.connections.upsertServiceConnection(echo);
    const here = new Map([
      ["127.0.0.1:7420", new URL(service.url).host],
      ["patchbay", `${resolve("node_modules/.bin/node")} ${resolve("src/main.ts")}`],
    ]);
    const given = `cd ${folder.path} && export PATCHBAY_URL=${service.url} PATCHBAY_KEY=${service.org.secret} LEDGER_KEY=the-ledgers-own-key && `;
    for (const name of ["actions", "channels", "events", "webhooks", "cli", "integrations", "catalog"]) {
      const page = await readFile(`docs/${name}.md`, "utf8");
      for (const [, file = "", content = ""] of page.matchAll(
        /^`([\w.]+)` [^\n]*:\n\n```\w+\n(.*?)^```$/gms,
      )) {
        await writeFile(join(folder.path, file), content);
      }
      const steps = stepsOf(page).filter(({ command }) => !command.startsWith("export "));
      expect(steps.length).toBeGreaterThan(2);
      for (const step of steps) {
        const command = step.command.replace(/(?<=^|\| )patchbay /, `${here.get("patchbay")} `);
        compare(step, (await paste(given + translated(command, here))).stdout, here);
      }
      const [, program = ""] = /^```ts\n(.*?)^```$/ms.exec(page) ?? [];
      await writeFile(join(folder.path, "program.ts"), program);
    }
    const tsc = `${resolve("node_modules/.bin/tsc")} --noEmit --strict --allowImportingTsExtensions program.ts`;
    expect(await paste(`cd ${folder.path} && ${tsc} --module esnext --target es2024`)).toMatchObject({
      code: 0,
      stdout: "",
    });
  },
);
