import { spawnSync } from "node:child_process";
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "../../cli/patchbay.ts";

/** A file system of its own. */
export interface SmallDisk extends AsyncDisposable {
  readonly path: string;
  /** Takes all the room that is left. */
  fill(): Promise<void>;
  /** Gives it back. */
  makeRoom(): Promise<void>;
}

// In a namespace of its own, so that the attempt leaves nothing.
const attempt = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"];

/** Only root may mount one. */
export const canMount =
  process.platform === "linux" && spawnSync(attempt[0] ?? "", attempt.slice(1)).status === 0;

/** Mounts a file system of so many MiB. */
export async function mountSmallDisk(mebibytes: number): Promise<SmallDisk> {
  await using opened = new AsyncDisposableStack();
  const { path } = opened.use(await temporaryFolder());
  mount("mount", "-t", "tmpfs", "-o", `size=${mebibytes}m,mode=755`, "tmpfs", path);
  // Lazily: a Postgres that has just ended may still hold files.
  opened.defer(() => mount("umount", "-l", path));
  const ballast = join(path, "ballast");
  const mounted = opened.move();
  return {
    path,
    async fill() {
      await using file = await open(ballast, "w");
      const piece = Buffer.alloc(64 * 1024);
      for (;;) {
        try {
          await file.write(piece);
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === "ENOSPC") return;
          throw error;
        }
      }
    },
    makeRoom: () => rm(ballast),
    [Symbol.asyncDispose]: () => mounted.disposeAsync(),
  };
}

function mount(command: string, ...args: readonly string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr}`);
}
