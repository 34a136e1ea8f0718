import type { Preset } from "./preset.ts";
import { business } from "./presets/business.ts";
import { development } from "./presets/development.ts";
import { messaging } from "./presets/messaging.ts";
import { standard } from "./presets/standard.ts";

/** The vendors that are known, by the names that channels use. */
export const presets: ReadonlyMap<string, Preset> = new Map(
  [...standard, ...development, ...business, ...messaging].map((preset) => [preset.name, preset]),
);
