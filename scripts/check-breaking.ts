import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "./run.ts";

/** Compares the contracts with those of the newest release, or of main as long as there is none. */
export async function breakingChanges(): Promise<string> {
  const base = await comparisonBase();
  if (base === undefined) return "skipped: no release tag and no branch main with contracts";
  const folder = await mkdtemp(join(tmpdir(), "patchbay-contracts-"));
  try {
    // Unpacked, because buf reads neither a worktree's .git nor every kind of ref.
    await run("git", "archive", `--output=${folder}/base.tar`, base, "buf.yaml", "proto");
    await run("tar", "-xf", `${folder}/base.tar`, "-C", folder);
    await run("buf", "breaking", "--against", folder);
    return `against ${base}`;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function comparisonBase(): Promise<string | undefined> {
  const tags = await run("git", "tag", "--list", "v*", "--sort=-version:refname");
  const release = tags.split("\n").find((tag) => /^v\d+\.\d+\.\d+$/.test(tag));
  for (const base of [release, "main", "origin/main"]) {
    if (base !== undefined && (await hasContracts(base))) return base;
  }
  return undefined;
}

async function hasContracts(revision: string): Promise<boolean> {
  return run("git", "cat-file", "-e", `${revision}:buf.yaml`).then(
    () => true,
    () => false,
  );
}
