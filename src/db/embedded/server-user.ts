import { spawnSync } from "node:child_process";
import { readFile, stat } from "node:fs/promises";
import { userInfo } from "node:os";

/** The user that Postgres runs as. It refuses to run as root. */
export interface ServerUser {
  readonly uid: number;
  /** What a process is started with to run as the user; empty if this process already does. */
  readonly credentials: { readonly uid?: number; readonly gid?: number };
  /** True if it is not the user of this process. */
  readonly isOther: boolean;
  /** Whether the user can reach and run the program. */
  canUse(program: string): boolean;
}

/** This process's user; if that is root, the owner of the data if there is data, else `postgres`, else `nobody`. */
export async function findServerUser(cluster: string): Promise<ServerUser> {
  const own = process.getuid?.() ?? 0;
  const owner = await stat(cluster).then(
    (found) => ({ uid: found.uid, gid: found.gid }),
    () => undefined,
  );
  if (own !== 0) {
    if (owner !== undefined && owner.uid !== own) {
      throw new Error(
        `${cluster} belongs to another user (uid ${owner.uid}): start the service as that user or as root, ` +
          "or choose another folder with --data-dir",
      );
    }
    return createUser(own, {}, false);
  }
  if (owner?.uid === 0) {
    throw new Error(
      `${cluster} belongs to root, but Postgres does not run as root: give it back with chown -R`,
    );
  }
  const { uid, gid } =
    owner ?? (await findAccount("postgres")) ?? (await findAccount("nobody")) ?? unknownAccount();
  return createUser(uid, { uid, gid }, true);
}

/**
 * Fails if the user has no name: a container can be started with any uid. initdb always asks for the name first;
 * Postgres itself never does.
 */
export function requireName({ uid, isOther }: ServerUser): void {
  // Another user than that of this process was found by its name, or by data that initdb has made.
  if (isOther) return;
  try {
    userInfo();
  } catch {
    throw new Error(
      `the embedded Postgres cannot make its data folder as uid ${uid}, which has no name in /etc/passwd: start the ` +
        `service as a user that has one, or add the line patchbay:x:${uid}:0::/:/sbin/nologin there for the first ` +
        "start, or set DATABASE_URL",
    );
  }
}

function createUser(uid: number, credentials: ServerUser["credentials"], isOther: boolean): ServerUser {
  return {
    uid,
    credentials,
    isOther,
    canUse(program) {
      const { status, error } = spawnSync(
        "/bin/sh",
        ["-c", '[ -r "$1" ] && [ -x "$1" ]', "sh", program],
        credentials,
      );
      if (error !== undefined) {
        throw new Error(
          `cannot start a program as the user with uid ${uid} (${error.message}): ` +
            "run the service as a normal user, or set DATABASE_URL",
        );
      }
      return status === 0;
    },
  };
}

async function findAccount(name: string): Promise<{ uid: number; gid: number } | undefined> {
  const lines = (await readFile("/etc/passwd", "utf8")).split("\n");
  const [, , uid, gid] = lines.find((line) => line.startsWith(`${name}:`))?.split(":") ?? [];
  return uid === undefined || gid === undefined ? undefined : { uid: Number(uid), gid: Number(gid) };
}

function unknownAccount(): never {
  throw new Error(
    "Postgres does not run as root, and there is neither a user `postgres` nor `nobody` to run it: " +
      "run the service as a normal user, or set DATABASE_URL",
  );
}
