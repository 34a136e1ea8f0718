import type { ChannelConfig } from "./channel.ts";
import type { Preset } from "./preset.ts";
import { presets } from "./presets.ts";
import type { Scheme } from "./signatures/scheme.ts";

const usualTokenHeader = "x-webhook-token";

/** What is known of the channel's sender. */
export function presetOf({ preset = "generic", sender }: ChannelConfig): Preset {
  const found = presets.get(preset);
  if (found === undefined) throw new Error(`a channel follows the preset ${preset}, which there is not`);
  return sender === undefined ? found : { ...found, ...sender };
}

/** How the channel's senders prove themselves; undefined where they show a key of ours, or nothing. */
export function schemeOf(config: ChannelConfig): Scheme | undefined {
  const { scheme } = presetOf(config);
  const { receiver } = config;
  switch (receiver?.authentication) {
    case "signature":
      return scheme;
    case "token": {
      const header = receiver.tokenHeader ?? (scheme.kind === "token" ? scheme.header : usualTokenHeader);
      return { kind: "token", name: "token", header };
    }
    case "basic":
      return { kind: "basic", name: "basic" };
    default:
      return undefined;
  }
}
