import { expect } from "vitest";

/** A command of a page, and what the page says that it prints. */
export interface Step {
  readonly command: string;
  readonly output: string;
}

/** The commands in `console` blocks: what follows `$ `, with the lines that continue it, and then the output. */
export function stepsOf(page: string): Step[] {
  const blocks = [...page.matchAll(/^```console\n(.*?)^```$/gms)].map(([, block = ""]) => block);
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

const names = /qe_sk_sandbox_[A-Z2-7]{32}|\b(?:scn|key|org|chn|whe|grp)_[0-9A-Z]{26}/g;

/** What is shown once: a signing secret of Standard Webhooks, or what senders of a channel prove themselves by. */
const secrets = /whsec_[A-Za-z0-9+/]{43}=|(?<="secret":")[\w-]{43}(?=")/g;

/** Expects the same output but for what differs with each start, and notes which name stands for which. */
export function compare({ command, output }: Step, actual: string, here: Map<string, string>): void {
  expect(`${command}\n${withoutChance(actual.trim())}`).toBe(`${command}\n${withoutChance(output)}`);
  for (const kind of [names, secrets]) {
    const ours = actual.match(kind) ?? [];
    for (const [i, theirs] of (output.match(kind) ?? []).entries()) here.set(theirs, ours[i]!);
  }
}

/** The text with the names that stand here for those of the page. */
export function translated(text: string, here: ReadonlyMap<string, string>): string {
  return [...here].reduce((text, [theirs, ours]) => text.replaceAll(theirs, ours), text);
}

/** With one word for each thing that is another one next time: names, times, hashes over times, budgets, ports. */
function withoutChance(text: string): string {
  return text
    .replace(/\r/g, "")
    .replace(secrets, "SECRET")
    .replace(names, (name) => name.replace(/[^_]+$/, "NAME"))
    .replace(/qe_sk_sandbox_[A-Z2-7]{4}…/g, "HINT")
    .replace(/("(?:hash|previousHash)":)"[0-9a-f]{64}"/g, '$1"HASH"')
    .replace(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "UUID")
    .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g, "TIME")
    .replace(/\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT/g, "TIME")
    .replace(/^\d\d:\d\d:\d\d /gm, "TIME ")
    .replace(/"(latencyMs|remaining|resetMs)":\d+/g, '"$1":NUMBER')
    .replace(/\bok, \d+ ms/g, "ok, NUMBER ms")
    .replace(/;r=\d+;t=\d+/g, ";r=NUMBER;t=NUMBER")
    .replace(/127\.0\.0\.1:\d+|port=\d+/g, "PORT");
}
