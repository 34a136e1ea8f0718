import { Code, ConnectError } from "@connectrpc/connect";
import { readFile } from "node:fs/promises";
import { buffer as bytesOf } from "node:stream/consumers";
import { createPatchbayClient, reasonOf, type PatchbayClient } from "#src/client/node.ts";
import { readRemote, type Remote, type RemoteFlags } from "#src/config/config.ts";

/** Asks a running service, and puts a failure into the words that a person at a terminal needs. */
export async function ask<Answer>(
  flags: RemoteFlags,
  question: (client: PatchbayClient) => Promise<Answer>,
): Promise<Answer> {
  const remote = readRemote(flags);
  const client = createPatchbayClient({ baseUrl: remote.url, apiKey: await keyOf(remote) });
  return question(client).catch((error: unknown) => {
    throw error instanceof ConnectError ? new Error(inWords(error, remote.url)) : error;
  });
}

async function keyOf({ key }: Remote): Promise<string> {
  if ("text" in key) return key.text;
  return readFile(key.file, "utf8").catch(({ code }: NodeJS.ErrnoException) => {
    throw new Error(
      `${key.file} cannot be read (${code}): give the API key in PATCHBAY_KEY, or its file with --key-file`,
    );
  });
}

function inWords(error: ConnectError, url: string): string {
  if (reasonOf(error) !== undefined) return error.rawMessage;
  if (error.code !== Code.Unavailable && error.code !== Code.Internal) return error.rawMessage;
  return `no answer from a Patchbay at ${url} (${error.rawMessage}): start one, or name it with PATCHBAY_URL or --url`;
}

/** What a file holds, or stdin for `-`. Where a secret is asked for, it is given so: arguments can be seen by others. */
export async function contentOf(file: string): Promise<Buffer> {
  if (file !== "-") return readFile(file);
  // The second would be empty, and be stored as that.
  if (process.stdin.readableEnded) throw new Error("-: stdin is read once; give a file for the other");
  return bytesOf(process.stdin);
}
