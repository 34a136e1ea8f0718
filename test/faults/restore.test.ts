import { spawnSync } from "node:child_process";
import { copyFile, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { patchbay, run, temporaryFolder } from "../cli/patchbay.ts";
import { presenter } from "../support/service.ts";
import { startDeployment, type Deployment } from "./support/deployment.ts";

let deployment: Deployment;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let file: string;
beforeAll(async () => {
  deployment = await startDeployment();
  folder = await temporaryFolder();
  file = join(folder.path, "backup");
  const taken = await run(["backup", file, "--data-dir", deployment.dataDir]);
  expect(taken).toMatchObject({ code: 0, stderr: "" });
});
afterAll(async () => {
  await deployment[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

/** A new data folder, with the root key beside it as an operator puts it there. */
async function emptyPlace(name: string): Promise<string> {
  const dataDir = join(folder.path, name);
  await copyFile(`${deployment.dataDir}.root-key`, `${dataDir}.root-key`);
  return dataDir;
}

test("a backup of a running service with its embedded Postgres is restored into another folder, where its admin key is good", async () => {
  const dataDir = await emptyPlace("restored");
  expect(await run(["restore", file, "--data-dir", dataDir])).toMatchObject({ code: 0, stderr: "" });
  expect(await readdir(dataDir)).toStrictEqual(["postgres"]);
  await using service = patchbay(["start", "--data-dir", dataDir, "--port", "0"]);
  const reply = await presenter(await service.ready(), deployment.adminKey).rest("GET", "/api/connections");
  expect(reply.status).toBe(200);

  const again = await run(["restore", file, "--data-dir", dataDir]);
  expect(again).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("has data already: restore into another"),
  });
});

test("a restore that is killed anywhere leaves nothing that a start would take for data, and is run again", async () => {
  const dataDir = await emptyPlace("killed");
  for (const waitMs of [0, 700]) {
    await using restoring = patchbay(["restore", file, "--data-dir", dataDir]);
    await vi.waitUntil(async () => (await readdir(dataDir).catch((): string[] => [])).includes("restoring"), {
      timeout: 50_000,
    });
    await new Promise((resolve) => setTimeout(resolve, waitMs));
    await restoring.kill("SIGKILL");
    expect(await readdir(dataDir)).not.toContain("postgres");
  }
  expect(await run(["restore", file, "--data-dir", dataDir])).toMatchObject({ code: 0, stderr: "" });
  expect(await readdir(dataDir)).toStrictEqual(["postgres"]);
});

test("a backup that is killed leaves no file of its name, and the next one is not in its way", async () => {
  const name = join(folder.path, "halfway");
  await using backing = patchbay(["backup", name, "--data-dir", deployment.dataDir]);
  await vi.waitUntil(async () => (await readdir(folder.path)).some((found) => found.startsWith("halfway")), {
    timeout: 50_000,
  });
  const ended = await backing.kill("SIGKILL");
  if (ended.signal === "SIGKILL") expect(await readdir(folder.path)).not.toContain("halfway");
  await rm(name, { force: true });
  expect(await run(["backup", name, "--data-dir", deployment.dataDir])).toMatchObject({
    code: 0,
    stderr: "",
  });
});

const small = process.getuid?.() === 0 && spawnSync("mount", ["--version"]).status === 0;
test.skipIf(!small)("a backup onto a full disk says so, and leaves nothing there", async () => {
  await using disk = await temporaryFolder();
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=4k", "tmpfs", disk.path]).status === 0;
  if (!mounted) return;
  try {
    const full = await run(["backup", join(disk.path, "backup"), "--data-dir", deployment.dataDir]);
    expect(full).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/cannot be written \(ENOSPC\): the disk is full/),
    });
    expect(await readdir(disk.path)).toStrictEqual([]);
  } finally {
    spawnSync("umount", [disk.path]);
  }
});
