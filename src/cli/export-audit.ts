import { createWriteStream } from "node:fs";
import { rename, rm, stat } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream } from "node:stream/web";
import type { RemoteFlags } from "#src/config/config.ts";
import type { ExportFlags } from "./audit-commands.ts";
import { ask } from "./remote.ts";

/** `patchbay audit export`. A file appears once it is whole: half of one must not be taken for the record. */
export async function exportAudit(flags: RemoteFlags & ExportFlags): Promise<void> {
  const { output, format, after, since, until } = flags;
  if (output !== undefined && (await exists(output)))
    throw new Error(`--output: ${output} is there already; name a new file`);
  await ask(flags, async (client) => {
    const body = await client.exportAudit({ format, after, since, until });
    if (output === undefined) return pipeline(readable(body), process.stdout, { end: false });
    const part = `${output}.part`;
    try {
      await pipeline(readable(body), createWriteStream(part, { flags: "wx", mode: 0o600, flush: true }));
      await rename(part, output);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") {
        throw new Error(`${part} is there, of an export that runs or was killed: remove it if none runs`, {
          cause: error,
        });
      }
      await rm(part, { force: true });
      throw new Error(`the export was not finished, and ${output} was not made`, { cause: error });
    }
  });
}

function readable(body: ReadableStream): Readable {
  return Readable.fromWeb(body);
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}
