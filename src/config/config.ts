import { join } from "node:path";
import { InvalidSetting, Problem, type Decisive } from "./setting.ts";
import { nameOf, settingNamed, settings, type SettingName } from "./settings.ts";

type Settings = typeof settings;
type Value<Name extends SettingName> = ReturnType<Settings[Name]["parse"]>;
type HasDefault = { readonly fallback: string } | { readonly fallbackFor: unknown };

/** The settings, checked. */
export type Config = {
  readonly [Name in SettingName]: Settings[Name] extends HasDefault ? Value<Name> : Value<Name> | undefined;
};

/** The settings that can be given as flags, not parsed yet. */
export type Flags = Partial<Record<SettingName, string>>;

type Environment = Readonly<Record<string, string | undefined>>;

/** Reads the settings. This is the only place that reads the environment of the process. */
export function readConfig(flags: Flags, env: Environment = process.env): Config {
  const textOf = (name: SettingName) =>
    filled(flags[name]) ?? filled(env[settingNamed(name).env]) ?? settingNamed(name).fallback;
  const valueOf = (name: SettingName) => {
    const text = textOf(name);
    return text === undefined ? undefined : parsed(name, text);
  };
  const decisive = {
    host: valueOf("host"),
    environment: valueOf("environment"),
    trustedProxyHops: valueOf("trustedProxyHops"),
    rateLimitPerMinute: valueOf("rateLimitPerMinute"),
  } as Decisive;
  const names = Object.keys(settings) as SettingName[];
  const values = names.map((name) => {
    const text = textOf(name) ?? settingNamed(name).fallbackFor?.(decisive);
    return [name, text === undefined ? undefined : parsed(name, text)];
  });
  const config = Object.fromEntries(values) as Config;
  requireOneRootKey(config);
  requireWholeTls(config);
  requireCeiling(config, decisive);
  return config;
}

/** Where a running service is, and where the key is found that a command presents to it. */
export interface Remote {
  readonly url: string;
  readonly key: { readonly text: string } | { readonly file: string };
}

/** What a command that asks a running service is given as flags. */
export interface RemoteFlags {
  readonly url?: string;
  readonly keyFile?: string;
}

/** Reads where the service is. A file that is named is meant; otherwise a key in the environment counts first. */
export function readRemote({ url, keyFile }: RemoteFlags, env: Environment = process.env): Remote {
  const text = filled(env["PATCHBAY_KEY"]);
  const dataDir = filled(env[settings.dataDir.env]) ?? settings.dataDir.fallback;
  return {
    url: filled(url) ?? filled(env["PATCHBAY_URL"]) ?? `http://127.0.0.1:${settings.port.fallback}`,
    key:
      keyFile === undefined && text !== undefined
        ? { text }
        : { file: keyFile ?? join(dataDir, "admin-key") },
  };
}

function parsed(name: SettingName, text: string): unknown {
  try {
    return settingNamed(name).parse(text);
  } catch (error) {
    if (error instanceof Problem) throw invalidSetting(name, error.message);
    throw error;
  }
}

/** The failure of a setting whose value turned out to be unusable. */
export function invalidSetting(name: SettingName, problem: string): InvalidSetting {
  return new InvalidSetting(nameOf(name), problem);
}

function requireOneRootKey(config: Config): void {
  for (const name of ["rootKey", "secondRootKey"] as const) {
    const file = `${name}File` as const;
    if (config[name] === undefined || config[file] === undefined) continue;
    throw invalidSetting(file, `give it or ${nameOf(name)}, not both`);
  }
}

function requireWholeTls({ tlsCert, tlsKey }: Config): void {
  const missing = (name: SettingName, beside: SettingName) =>
    invalidSetting(name, `is missing beside ${nameOf(beside)}; give both or none`);
  if (tlsCert === undefined && tlsKey !== undefined) throw missing("tlsCert", "tlsKey");
  if (tlsKey === undefined && tlsCert !== undefined) throw missing("tlsKey", "tlsCert");
}

/** A limit that was given must not exceed the ceiling; the default limit gives way to it. */
function requireCeiling(
  { maxRateLimitPerMinute: most }: Config,
  { rateLimitPerMinute: wanted }: Decisive,
): void {
  if (wanted === undefined || wanted <= most) return;
  throw invalidSetting(
    "maxRateLimitPerMinute",
    `give at least ${wanted}, which is ${nameOf("rateLimitPerMinute")}, not ${most}`,
  );
}

function filled(text: string | undefined): string | undefined {
  return text === undefined || text.trim() === "" ? undefined : text.trim();
}
