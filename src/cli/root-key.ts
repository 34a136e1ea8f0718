import { mkdir, readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { invalidSetting } from "#src/config/config.ts";
import { nameOf, type SettingName } from "#src/config/settings.ts";
import type { Config } from "#src/config/config.ts";
import { checkRootKey } from "#src/crypto/check-root-key.ts";
import { RootKeyUnavailable } from "#src/crypto/errors.ts";
import { localRootKey, newRootKeyText, type RootKey } from "#src/crypto/root-key.ts";
import { rootKeyAt } from "#src/crypto/root-keys/open.ts";
import type { Log } from "#src/platform/log.ts";
import { writeNewFile } from "./new-file.ts";

/** The root key, and whether this start made it. */
export interface OpenedRootKey {
  readonly rootKey: RootKey;
  readonly created: boolean;
}

/** The configured root key; the embedded database's first start makes one. */
export async function openRootKey(config: Config, log: Log): Promise<OpenedRootKey> {
  const rootKey = await findRootKey(config, log);
  return rootKey === undefined
    ? { rootKey: await createRootKey(rootKeyFileOf(config)), created: true }
    : { rootKey, created: false };
}

/** The configured root key; undefined if the first start has yet to make it. */
export async function findRootKey(config: Config, log: Log): Promise<RootKey | undefined> {
  const given = await readRootKey(config, "rootKey", log);
  if (given !== undefined) {
    // Before anything relies on it. One that only opens what is stored need not wrap.
    if (config.rootKeyUrl !== undefined) await blaming("rootKeyUrl", checkRootKey(given));
    return given;
  }
  if (config.databaseUrl !== undefined) {
    // Not one that happens to lie beside a data folder: it would have to be the same on all replicas.
    throw invalidSetting(
      "rootKeyFile",
      `is needed with an external database; give it, ${nameOf("rootKey")} or ${nameOf("rootKeyUrl")}; ` +
        "for a new database, make a key with: openssl rand -base64 32",
    );
  }
  const file = rootKeyFileOf(config);
  const found = await readFileAt(file, "rootKeyFile", ["ENOENT", "ENOTDIR"]);
  if (found === undefined && (await hasData(config))) {
    throw invalidSetting(
      "rootKeyFile",
      `the root key ${file} is missing, and nothing else opens the data in ${config.dataDir}: ` +
        "put it back, or name its place",
    );
  }
  return found;
}

/** What names a root key in the settings: a value, and by the same name with `File` and `Url` where else it may be. */
type RootKeySetting = "rootKey" | "secondRootKey";

/** The root key that the settings of this name give; undefined if none of them does. */
export async function readRootKey(
  config: Config,
  name: RootKeySetting,
  log: Log,
): Promise<RootKey | undefined> {
  const urlSetting = `${name}Url` as const;
  const place = config[urlSetting];
  if (place !== undefined) return blaming(urlSetting, rootKeyAt(place, { ...config, log }));
  const value = config[name];
  if (value !== undefined) return readText(value.reveal().toString(), name);
  const fileSetting = `${name}File` as const;
  const file = config[fileSetting];
  return file === undefined ? undefined : readFileAt(file, fileSetting);
}

/** The root key's file, unless the key itself is given. Beside the data, not in it: copied data alone opens nothing. */
export function rootKeyFileOf(config: Config): string {
  return config.rootKeyFile ?? `${config.dataDir}.root-key`;
}

/** Whether the embedded database was started before. */
export async function hasData(config: Config): Promise<boolean> {
  return stat(join(config.dataDir, "postgres")).then(
    () => true,
    () => false,
  );
}

/** For commands about what is stored: at a place that was named by mistake they make no database of their own. */
export async function requireData(config: Config): Promise<void> {
  if (config.databaseUrl === undefined && !(await hasData(config))) {
    throw new Error(`there is no data in ${config.dataDir}: name its folder with --data-dir`);
  }
}

/** The root key in the file; undefined if reading it fails with one of the codes. */
async function readFileAt(
  file: string,
  setting: `${RootKeySetting}File`,
  absent: readonly string[] = [],
): Promise<RootKey | undefined> {
  const text = await readFile(file, "utf8").catch(({ code = "" }: NodeJS.ErrnoException) => {
    if (absent.includes(code)) return undefined;
    throw invalidSetting(setting, `${file} cannot be read (${code}): name a file that can`);
  });
  return text === undefined ? undefined : readText(text, setting, `${file} cannot be used: `);
}

/** Fails with the setting's name and what to change. */
async function blaming<T>(setting: `${RootKeySetting}Url`, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    // Its own text is for callers, who are not told where the root key is.
    if (!(error instanceof RootKeyUnavailable) || !(error.cause instanceof Error)) throw error;
    throw invalidSetting(setting, error.cause.message);
  }
}

function readText(text: string, setting: SettingName, prefix = ""): RootKey {
  try {
    return localRootKey(text);
  } catch (error) {
    throw invalidSetting(setting, prefix + (error as Error).message);
  }
}

async function createRootKey(file: string): Promise<RootKey> {
  const text = newRootKeyText();
  try {
    await mkdir(dirname(file), { recursive: true });
    await writeNewFile(file, text);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw invalidSetting(
      "rootKeyFile",
      `the root key ${file} cannot be made (${code}): choose a place that this user may write with ` +
        nameOf("dataDir"),
    );
  }
  return localRootKey(text);
}
