import { existsSync } from "node:fs";
import { appendFile, cp, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { run, runIn } from "./run.ts";

/** Fails if `npm run generate` would change anything. */
export async function generatedCode(): Promise<string> {
  const changed = await changesBy("npm", "run", "generate");
  if (changed !== "")
    throw new Error(`Not in step with proto/: run \`npm run generate\` and commit\n${changed}`);
  return "";
}

/** Fails if the schema has changes that no migration makes, which `drizzle-kit check` does not see. */
export async function migrations(): Promise<string> {
  const changed = await changesBy("drizzle-kit", "generate");
  if (changed !== "") {
    throw new Error(
      `No migration makes the schema's last change: run \`npx drizzle-kit generate --name <what it does>\`\n${changed}`,
    );
  }
  return "";
}

/** What the command changes in a copy of the working tree, so that a check leaves no traces in the tree itself. */
async function changesBy(command: string, ...args: string[]): Promise<string> {
  const copy = await mkdtemp(join(tmpdir(), "patchbay-in-step-"));
  try {
    const files = await run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard");
    for (const file of files.split("\0").filter(existsSync)) await cp(file, join(copy, file));
    await runIn(copy, "git", "init", "--quiet");
    await runIn(copy, "git", "add", "--all");
    await symlink(resolve("node_modules"), join(copy, "node_modules"));
    await appendFile(join(copy, ".git/info/exclude"), "node_modules\n");
    await runIn(copy, command, ...args);
    const changed = await runIn(copy, "git", "diff", "--name-only");
    const added = await runIn(copy, "git", "ls-files", "--others", "--exclude-standard");
    return `${changed}\n${added}`.trim();
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}
