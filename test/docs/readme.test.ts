import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { hasTerminal, paste, patchbayOnTerminal, temporaryFolder } from "../cli/patchbay.ts";

/** A command of the README, and what it says that it prints. */
interface Step {
  readonly command: string;
  readonly output: string;
}

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

/** The commands in `console` blocks: what follows `$ `, with the lines that continue it, and then the output. */
function stepsOf(readme: string): Step[] {
  const blocks = [...readme.matchAll(/^```console\n(.*?)^```$/gms)].map(([, block = ""]) => block);
  return blocks.flatMap((block) =>
    block
      .split(/^\$ /m)
      .slice(1)
      .map((text) => {
        const [command = ""] = /^(?:.*\\\n)*.*/.exec(text) ?? [];
        return { command, output: text.slice(command.length).trim() };
      }),
  );
}

const names = /qe_sk_sandbox_[A-Z2-7]{32}|\b(?:scn|key|org)_[0-9A-Z]{26}/g;

/** Expects the same output but for what differs with each start, and notes which name stands for which. */
function compare({ command, output }: Step, actual: string, here: Map<string, string>): void {
  expect(`${command}\n${withoutChance(actual.trim())}`).toBe(`${command}\n${withoutChance(output)}`);
  const ours = actual.match(names) ?? [];
  for (const [i, theirs] of (output.match(names) ?? []).entries()) here.set(theirs, ours[i]!);
}

function translated(command: string, here: ReadonlyMap<string, string>): string {
  return [...here].reduce((text, [theirs, ours]) => text.replaceAll(theirs, ours), command);
}

/** With one word for each thing that is another one next time: names, times, hashes over times, ports. */
function withoutChance(text: string): string {
  return text
    .replace(names, (name) => name.replace(/[^_]+$/, "NAME"))
    .replace(/qe_sk_sandbox_[A-Z2-7]{4}…/g, "HINT")
    .replace(/("(?:hash|previousHash)":)"[0-9a-f]{64}"/g, '$1"HASH"')
    .replace(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "UUID")
    .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g, "TIME")
    .replace(/\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT/g, "TIME")
    .replace(/^\d\d:\d\d:\d\d /gm, "TIME ")
    .replace(/"latencyMs":\d+/g, '"latencyMs":NUMBER')
    .replace(/127\.0\.0\.1:\d+|port=\d+/g, "PORT");
}
