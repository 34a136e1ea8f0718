import { randomBytes } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";

/**
 * Which process a running Postgres works for. The server itself carries it as its `cluster_name`, so that it
 * cannot be older or newer than the server, as a file beside it could.
 */
export interface Owner {
  readonly pid: number;
  /** When the process started, in the kernel's words: another process may have the same id later. */
  readonly started: string;
  /** The kernel's name for the namespace that `pid` belongs to; containers have their own. */
  readonly pidSpace: string;
  /** Distinguishes two supervisors of one process. */
  readonly instance: string;
}

/** A new owner: this process. */
export function currentOwner(): Owner {
  return {
    pid: process.pid,
    started: startOf(process.pid) ?? "",
    pidSpace: ownPidSpace(),
    instance: randomBytes(4).toString("hex"),
  };
}

/** At most 63 bytes, for Postgres keeps no more of a cluster name. */
export function formatOwner({ pid, started, pidSpace, instance }: Owner): string {
  return `patchbay:${pid}:${started}:${pidSpace}:${instance}`;
}

/** The owner that the name states; undefined if the name is none of ours. */
export function parseOwner(name: string): Owner | undefined {
  const [patchbay, pid, started, pidSpace, instance] = name.split(":");
  if (patchbay !== "patchbay" || pid === undefined || started === undefined) return undefined;
  if (pidSpace === undefined || instance === undefined) return undefined;
  return { pid: Number(pid), started, pidSpace, instance };
}

/** Whether the process still runs. One that we cannot see, such as one of another container, counts as running. */
export function isRunning(owner: Owner): boolean {
  if (owner.pidSpace !== ownPidSpace()) return true;
  return isAlive(owner.pid) && startOf(owner.pid) === (owner.started || undefined);
}

/** Whether there is a process with this id, be it a zombie. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Ticks since the boot, on Linux; other systems show it only to `ps`. Undefined for a dead process. */
function startOf(pid: number): string | undefined {
  try {
    const line = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field is the program's name in parentheses, and may hold both spaces and parentheses.
    const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
    // A zombie has ended, and only waits for a parent that does not ask.
    return fields[0] === "Z" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

function ownPidSpace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid").replaceAll(/\D/g, "");
  } catch {
    return "";
  }
}
