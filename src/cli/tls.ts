import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import { InvalidSetting, type Config } from "#src/config.ts";
import type { Tls } from "#src/net/servers.ts";

/** The configured certificate and its key, tried out; undefined if none is configured. */
export async function readTls({ tls }: Config): Promise<Tls | undefined> {
  if (tls === undefined) return undefined;
  const cert = await readPem("tlsCert", tls.certFile);
  const key = await readPem("tlsKey", tls.keyFile);
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new InvalidSetting(
      "tlsCert",
      `${tls.certFile} and ${tls.keyFile} do not serve together (${code}): ` +
        "give a certificate chain and its own key, unencrypted, both in PEM",
    );
  }
  return { cert, key };
}

async function readPem(setting: "tlsCert" | "tlsKey", file: string): Promise<Buffer> {
  return readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new InvalidSetting(setting, `${file} cannot be read (${error.code}): name a PEM file that can`);
  });
}
