import { open, type FileHandle } from "node:fs/promises";
import { signedToJson } from "./anchor.ts";
import type { ClaimedAnchor } from "./anchor-store.ts";

/** Where anchors are kept, out of reach of the owner of the database. */
export interface AnchorSink {
  /** Resolves once they are kept. They may be written twice. */
  write(anchors: readonly ClaimedAnchor[], signal: AbortSignal): Promise<void>;
}

/** Of the service's way out, what a sink takes. */
interface Send {
  send(request: {
    readonly share: string;
    readonly baseUrl: string;
    readonly method: string;
    readonly path: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly body: Buffer;
    readonly timeoutMs: number;
    readonly headOnly: boolean;
    readonly signal: AbortSignal;
  }): Promise<{ readonly status: number }>;
}

const timeoutMs = 10_000;

/** The place that the setting names: a URL, to which lines are posted, or a file, to which they are appended. */
export function createAnchorSink(place: string | undefined, outbound: Send): AnchorSink | undefined {
  if (place === undefined) return undefined;
  return /^https?:/.test(place) ? sinkAt(place, outbound) : fileSink(place);
}

function sinkAt(url: string, outbound: Send): AnchorSink {
  return {
    async write(anchors, signal) {
      const { status } = await outbound.send({
        ...{ share: "audit anchors", baseUrl: url, method: "POST", path: "" },
        headers: { "content-type": "application/x-ndjson" },
        // The answer's body says nothing more, and may be of any length.
        ...{ body: Buffer.from(linesOf(anchors)), timeoutMs, headOnly: true, signal },
      });
      if (status < 200 || status > 299) {
        throw new Error(
          `PATCHBAY_AUDIT_ANCHORS: the service there answered ${status}; it must answer 2xx once it keeps the lines`,
        );
      }
    },
  };
}

function fileSink(file: string): AnchorSink {
  return {
    async write(anchors) {
      try {
        // Opened each time: a file that was moved away, as log rotation does, is made anew.
        await using handle = await open(file, "a+", 0o600);
        const begin = (await endsWithinLine(handle)) ? "\n" : "";
        await handle.appendFile(begin + linesOf(anchors));
        await handle.sync();
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        throw new Error(
          `PATCHBAY_AUDIT_ANCHORS: ${file} cannot be written (${code}): name a file that this user may write`,
          { cause: error },
        );
      }
    },
  };
}

/** Whether the file ends without a line feed: a process was killed, or the disk was full, within its last line. */
async function endsWithinLine(handle: FileHandle): Promise<boolean> {
  const { size } = await handle.stat();
  if (size === 0) return false;
  const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, size - 1);
  return buffer.toString() !== "\n";
}

function linesOf(anchors: readonly ClaimedAnchor[]): string {
  return anchors
    .map((anchor) => `${JSON.stringify({ type: "anchor", ...signedToJson(anchor.orgId, anchor) })}\n`)
    .join("");
}
