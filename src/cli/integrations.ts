import type { Integration } from "#src/integrations/integration.ts";
import { provided } from "#src/integrations/list.ts";
import { presets } from "#src/integrations/presets.ts";

/** `patchbay integrations list`: a line on stdout for each: slug, name, and the ids of its auth methods. */
export function listIntegrations(which: { readonly onlyPresets: boolean }): void {
  const listed: readonly Integration[] = which.onlyPresets ? presets : provided;
  const lines = listed.map(({ slug, name, authMethods }) => [
    slug,
    name,
    authMethods.map(({ id, unsupported }) => (unsupported === undefined ? id : `(${id})`)).join(", "),
  ]);
  const [slugs, names] = [0, 1].map((column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const text = lines.map(([slug = "", name = "", methods = ""]) =>
    [slug.padEnd(slugs ?? 0), name.padEnd(names ?? 0), methods].join("  "),
  );
  // At once, so that `| head` does not break the pipe between two lines.
  process.stdout.write(`${text.join("\n")}\n`);
}
