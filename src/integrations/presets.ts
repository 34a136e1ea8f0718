import type { Integration } from "./integration.ts";

/** Well-known services, in the order of their slugs. */
export const presets: readonly Integration[] = [];

/** The preset that has the slug. */
export function findPreset(slug: string): Integration | undefined {
  return presets.find((preset) => preset.slug === slug);
}
