import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { rewriteFrom, tamper } from "../audit/support.ts";
import { paste, temporaryFolder } from "../cli/patchbay.ts";
import { startService } from "../support/service.ts";

const hasTools = ["curl", "jq"].every((tool) => spawnSync(tool, ["--version"]).status === 0);

test.skipIf(!hasTools)(
  "the crontab line of the concepts keeps heads, and says when the record no longer holds one",
  async () => {
    await using service = await startService();
    await using folder = await temporaryFolder();
    const { org, postgres } = service;
    const { secret } = await org.client.apiKeys.createApiKey({ name: "heads", scopes: ["audit:view"] });
    const [, line = ""] = /^17 3 \* \* \* (.*)$/m.exec(readFileSync("docs/concepts.md", "utf8")) ?? [];
    const home = join(folder.path, "patchbay-heads");
    await mkdir(home);
    await writeFile(join(home, "key"), `Authorization: Bearer ${secret}`, { mode: 0o600 });
    const nightly = line
      .replace("~/patchbay-heads", `'${home}'`)
      .replace("https://patchbay.example", service.url);
    const kept = async () => (await readFile(join(home, "heads"), "utf8")).trim().split("\n");

    for (const nights of [1, 2]) {
      expect(await paste(nightly)).toMatchObject({ code: 0, stdout: "", stderr: "" });
      expect(await kept()).toHaveLength(nights);
      await org.client.directory.upsertUser({ email: `u${nights}@acme.example` });
    }
    expect((await kept()).at(-1)).toMatch(/^known\.seq=4&known\.hash=[0-9a-f]{64}$/);

    await tamper(postgres, ...rewriteFrom(org.orgId, 2, "target = 'forged'"));
    expect(await org.client.audit.verifyAudit({})).toMatchObject({ valid: true });
    const complaint = "the audit record was changed, or could not be verified\n";
    expect((await paste(nightly)).stdout).toBe(complaint);
    await service.app.close(1_000);
    expect((await paste(nightly)).stdout).toBe(complaint);
    expect(await kept()).toHaveLength(2);
  },
);
