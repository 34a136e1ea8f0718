import { readdirSync } from "node:fs";
import { defineConfig, type OxlintOverride } from "oxlint";

// Lowest first. A file imports its own folder and the ranks below it; its neighbours in the rank are out of bounds.
const ranks = [
  ["platform"],
  ["json"],
  ["db"],
  ["audit"],
  ["directory"],
  ["outbound", "ratelimit"],
  ["crypto"],
  ["idempotency", "eventlog"],
  ["api-keys", "integrations"],
  ["operations"],
  ["verification"],
  ["connections"],
  ["calls", "events"],
  ["catalog", "channels", "health", "demo"],
  ["webhooks"],
  ["pipeline"],
  ["rpc", "rest"],
  ["net"],
  ["metrics", "tracing"],
  ["config"],
  ["workers"],
  ["cli"],
];
const ranked = ranks.flat();
const folders = [...ranked, "client"];

for (const entry of readdirSync("src", { withFileTypes: true })) {
  if (entry.isDirectory() && !folders.includes(entry.name)) {
    throw new Error(`src/${entry.name} has no rank: give it one in oxlint.config.ts`);
  }
}

const composition = "(?:main|app|features|sealed-columns|shared|surfaces)\\.ts$";
const anyFolder = `(?:${folders.join("|")})/`;
const byPath = {
  regex: `^\\.\\./(?:\\.\\./|${anyFolder}|${composition})`,
  message: "Write an import of another folder as #src/folder/file.ts, so that the rank rules see it.",
};

const outboundOnly = "Only src/outbound calls other services: it filters addresses and caps time and size.";
const httpClients = [
  { regex: "^undici$", message: outboundOnly },
  { regex: "^node:https?$", importNames: ["request", "get", "Agent"], message: outboundOnly },
];
const drizzle = { regex: "^drizzle-orm", message: "Import it from #src/db/drizzle.cjs, which says why." };

function importRules(folder: string): OxlintOverride {
  const below = ranks
    .slice(
      0,
      ranks.findIndex((rank) => rank.includes(folder)),
    )
    .flat();
  // Its commands ask a running service, as whoever uses the published client does.
  const published = folder === "cli" ? ["client"] : [];
  const allowed = [folder, ...below, ...published];
  const forbidden = folders.filter((name) => !allowed.includes(name));
  const ranksAbove = {
    regex: `^#src/(?:(?:${forbidden.join("|")})/${folder === "cli" ? "" : `|${composition}`})`,
    message: `src/${folder} may import ${["itself", ...below, ...published].join(", ")}, and nothing else of src.`,
  };
  const patterns = [byPath, ranksAbove, drizzle, ...(folder === "outbound" ? [] : httpClients)];
  return { files: [`src/${folder}/**`], rules: { "no-restricted-imports": ["error", { patterns }] } };
}

const clientRules: OxlintOverride = {
  files: ["src/client/**"],
  rules: {
    "no-restricted-imports": [
      "error",
      {
        patterns: [
          {
            regex: `^#src/(?:(?:${ranked.join("|")})/|${composition})|^\\.\\./`,
            message: "src/client is published: it sees only itself (as #src/client/), gen and packages.",
          },
        ],
      },
    ],
  },
};

export default defineConfig({
  options: { typeAware: true, reportUnusedDisableDirectives: "error" },
  // bin/ and .ci/ are written for a Node that is too old to run anything else of this.
  ignorePatterns: [".ci", "bin", "dist", "gen", "test/client/consumer"],
  plugins: ["eslint", "typescript", "unicorn", "oxc", "import", "promise", "node"],
  categories: { correctness: "error", suspicious: "error" },
  rules: {
    "typescript/no-misused-promises": "error",
    "typescript/return-await": ["error", "error-handling-correctness-only"],
    "typescript/only-throw-error": "error",
    "typescript/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
    "typescript/no-unnecessary-condition": [
      "error",
      { allowConstantLoopConditions: "only-allowed-literals" },
    ],
    "typescript/no-explicit-any": "error",
    "typescript/no-unsafe-argument": "error",
    "typescript/no-unsafe-call": "error",
    "typescript/no-unsafe-member-access": "error",
    "typescript/no-unsafe-return": "error",
    "typescript/no-deprecated": "error",
    "typescript/consistent-type-imports": "error",
    eqeqeq: ["error", "always", { null: "ignore" }],
    // Matters of taste, or right too often to be an alarm.
    "import/no-named-as-default-member": "off",
    "no-shadow": "off",
    "no-underscore-dangle": "off",
    "no-unmodified-loop-condition": "off",
    "promise/always-return": "off",
    "promise/no-callback-in-promise": "off",
    "typescript/consistent-return": "off",
    "typescript/no-unsafe-type-assertion": "off",
    "unicorn/consistent-function-scoping": "off",
    "unicorn/no-array-reverse": "off",
    "unicorn/no-array-sort": "off",
    "unicorn/no-useless-spread": "off",
    // Of windows. Threads take no origin.
    "unicorn/require-post-message-target-origin": "off",
  },
  overrides: [
    {
      files: ["src/**"],
      rules: {
        "no-console": "error",
        "node/no-process-env": "error",
        "no-restricted-imports": ["error", { patterns: [...httpClients, drizzle] }],
        "no-restricted-globals": ["error", { name: "fetch", message: outboundOnly }],
        "no-restricted-properties": [
          "error",
          ...["transaction", "begin", "reserve"].map((property) => ({
            property,
            message: "Only src/db opens transactions: its guard keeps those of two tenants apart.",
          })),
        ],
      },
    },
    ...ranked.map(importRules),
    clientRules,
    { files: ["src/config/config.ts"], rules: { "node/no-process-env": "off" } },
    { files: ["src/cli/**"], rules: { "no-console": "off" } },
    // It runs where its caller runs, and calls nothing but this service.
    { files: ["src/client/{proxy-fetch,audit-export}.ts"], rules: { "no-restricted-globals": "off" } },
    { files: ["src/outbound/**"], rules: { "no-restricted-globals": "off" } },
    { files: ["src/db/**"], rules: { "no-restricted-properties": "off" } },
    {
      files: ["src/db/drizzle.*"],
      rules: { "no-restricted-imports": "off", "typescript/no-unsafe-call": "off" },
    },
    {
      // What comes off the wire is `any` in a test, and the expectation is its type check.
      files: ["test/**"],
      rules: {
        "no-restricted-imports": ["error", { patterns: [drizzle] }],
        "typescript/no-unsafe-argument": "off",
        "typescript/no-unsafe-call": "off",
        "typescript/no-unsafe-enum-assignment": "off",
        "typescript/no-unsafe-member-access": "off",
        "typescript/no-unsafe-return": "off",
        "typescript/unbound-method": "off",
        "unicorn/no-array-fill-with-reference-type": "off",
      },
    },
  ],
});
