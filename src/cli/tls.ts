import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import { invalidSetting, type Config } from "#src/config/config.ts";
import type { Tls } from "#src/net/servers.ts";

/** The configured certificate and its key, tried out; undefined if none is configured. */
export async function readTls({ tlsCert, tlsKey }: Config): Promise<Tls | undefined> {
  if (tlsCert === undefined || tlsKey === undefined) return undefined;
  const cert = await readPem("tlsCert", tlsCert);
  const key = await readPem("tlsKey", tlsKey);
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw invalidSetting(
      "tlsCert",
      `${tlsCert} and ${tlsKey} do not serve together (${code}): ` +
        "give a certificate chain and its own key, unencrypted, both in PEM",
    );
  }
  return { cert, key };
}

async function readPem(setting: "tlsCert" | "tlsKey", file: string): Promise<Buffer> {
  return readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw invalidSetting(setting, `${file} cannot be read (${error.code}): name a PEM file that can`);
  });
}
