import { expect, test } from "vitest";
import { newApiKeySecret } from "#src/api-keys/secret-format.ts";
import { createLog } from "#src/cli/log.ts";

const legacyPrefixes = ["qedi_", "bs_", "aml_"];

/** The lines that come of logging. */
function logged(style: "json" | "readable", write: (log: ReturnType<typeof createLog>) => void): string {
  let lines = "";
  write(createLog("debug", { write: (line: string) => void (lines += line) }, { style, legacyPrefixes }));
  return lines;
}

test.each(["json", "readable"] as const)(
  "a key is taken out of every %s line, wherever it stands",
  (style) => {
    const secret = newApiKeySecret("live");
    const lines = logged(style, (log) => {
      log.info({ url: `/x?key=${secret}`, nested: { deep: [secret] } }, `called with ${secret}`);
      log.error({ err: new Error(`refused ${secret}`) }, "failed");
    });
    expect(lines).toContain("qe_sk_live_[secret]");
    expect(lines).not.toContain(secret.slice(0, 20));
  },
);

test("keys of earlier systems are taken out as well, and what only begins like one stays", () => {
  const lines = logged("json", (log) => {
    log.info({ path: "/api/api-keys/qedi_0123456789abcdef/rotate" }, "called with aml_Zürich!2024#key.");
    log.info({ scope: "aml_case:view", slug: "jobs_of_the_whole_night" }, "bs_short");
  });
  expect(lines).toContain("/api/api-keys/qedi_[secret]/rotate");
  expect(lines).not.toMatch(/0123456789|2024/);
  for (const kept of ["aml_case:view", "jobs_of_the_whole_night", "bs_short"]) expect(lines).toContain(kept);
});

test.each(["apiKey", "secret", "authorization", "password", "token", "rootKey", "databaseUrl"])(
  "a member named %s is never logged, also inside of others",
  (name) => {
    const facts = { [name]: "canary", inside: { [name]: "canary", further: { [name]: "canary" } } };
    expect(logged("json", (log) => log.info(facts, "x"))).not.toContain("canary");
  },
);

test("a readable line shows what comes from outside as JSON, so that it cannot rewrite the terminal", () => {
  const line = logged("readable", (log) =>
    log.warn({ path: "/a b\u001b[2J\n", port: 1, host: "a.b" }, "request"),
  );
  expect(line).toMatch(/^\d\d:\d\d:\d\d warn {2}request path="\/a b\\u001b\[2J\\n" port=1 host=a\.b\n$/);
});
