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
    workers: valueOf("workers"),
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
  requireEnoughForEach(config);
  return config;
}

/** The least of each setting that one worker can do its work with. */
const leastOfWorker = { databasePoolSize: 2, memoryBudgetMib: 64 } as const;

/** The settings of one worker: its part of what the workers of a machine divide. */
export function partOfWorker(config: Config): Config {
  const { workers, databasePoolSize, memoryBudgetMib } = config;
  return {
    ...config,
    databasePoolSize: Math.floor(databasePoolSize / workers),
    memoryBudgetMib: Math.floor(memoryBudgetMib / workers),
  };
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
    const names = [name, `${name}File`, `${name}Url`] as const;
    const [one, another] = names.filter((given) => config[given] !== undefined);
    if (one === undefined || another === undefined) continue;
    throw invalidSetting(another, `give it or ${nameOf(one)}, not both`);
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

function requireEnoughForEach(config: Config): void {
  for (const name of ["databasePoolSize", "memoryBudgetMib"] as const) {
    const least = leastOfWorker[name] * config.workers;
    if (config[name] >= least) continue;
    throw invalidSetting(
      name,
      `give at least ${least} for ${config.workers} workers, which divide it, not ${config[name]}`,
    );
  }
}

function filled(text: string | undefined): string | undefined {
  return text === undefined || text.trim() === "" ? undefined : text.trim();
}
