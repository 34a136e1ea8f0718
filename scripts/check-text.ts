import { readFile } from "node:fs/promises";
import { run } from "./run.ts";

/** Fails if the lockfile says where a package came from, which ties every install to one registry. */
export async function lockfile(): Promise<string> {
  if ((await readFile("package-lock.json", "utf8")).includes('"resolved"')) {
    throw new Error("package-lock.json has `resolved` entries: .npmrc was not in effect when it was written");
  }
  return "";
}

/** Fails if a file names a package registry or a folder of the machine that it was written on. */
export async function machineTraces(): Promise<string> {
  const registries = "registry[.](npmjs|yarnpkg)[.]|npm[.]pkg[.]github[.]|npm[.]jsr[.]io";
  const folders = "(^|[^[:alnum:]_./~-])/(work|root|home/[a-z]+|Users/[A-Za-z]+)/";
  const pattern = `${registries}|${folders}`;
  // `git grep` exits with 1 and prints nothing when there is no match.
  const found = await run("git", "grep", "--untracked", "-nIE", pattern).catch((error: unknown) => {
    if (error instanceof Error && isNoMatch(error)) return "";
    throw error;
  });
  const lines = found.split("\n").map((line) => line.slice(0, 200));
  if (found !== "") throw new Error(`These lines belong to one machine only:\n${lines.join("\n")}`);
  return "";
}

function isNoMatch(error: Error): boolean {
  return (error.cause as { code?: unknown } | undefined)?.code === 1;
}
