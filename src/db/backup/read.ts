import { createHash } from "node:crypto";
import { BackupDamaged } from "./errors.ts";
import { createRowSum, framesOf, headOf, type Frame } from "./frames.ts";
import type { Table } from "./layout.ts";
import { parseManifest, type Manifest } from "./manifest.ts";
import type { Seal } from "./seal.ts";

/** A backup that is being read, from its beginning to its end. */
export interface Backup {
  readonly manifest: Manifest;
  /** Each table with its rows, which have to be read before the next one. */
  tables(): AsyncGenerator<TableRows>;
  /** Once all tables were read: the digest of what was read, and what seals it. */
  end(): End;
}

interface End {
  readonly digest: Buffer;
  readonly seal: Seal;
}

export interface TableRows extends Table {
  /** The rows as COPY takes them; fails at their end if they are not those that were written. */
  pieces(): AsyncGenerator<Buffer>;
  /** How many rows those were, once they were read. */
  count(): number;
}

/** Begins to read what was decompressed. */
export async function readBackup(pieces: AsyncIterable<Buffer>): Promise<Backup> {
  const frames = framesOf(pieces);
  const whole = createHash("sha256");
  let end: End | undefined;

  async function next(): Promise<Frame> {
    const { value, done } = await frames.next();
    if (done === true) throw new BackupDamaged("its end is missing");
    if (value.kind !== "Z") whole.update(headOf(value)).update(value.body);
    return value;
  }

  function rowsOf(table: string): Pick<TableRows, "pieces" | "count"> {
    let rows = 0;
    async function* pieces(): AsyncGenerator<Buffer> {
      const sum = createRowSum();
      for (;;) {
        const { kind, body } = await next();
        if (kind === "D") {
          sum.add(body);
          yield body;
          continue;
        }
        const found = sum.end();
        const written = kind === "E" ? parse(body) : {};
        if (written["rows"] !== found.rows || written["sha256"] !== found.sha256) throw otherRows(table);
        rows = found.rows;
        return;
      }
    }
    return { pieces, count: () => rows };
  }

  async function* tables(): AsyncGenerator<TableRows> {
    for (;;) {
      const { kind, body } = await next();
      if (kind === "Z") {
        end = endOf(body, whole.digest());
        if ((await frames.next()).done !== true) throw new BackupDamaged("it goes on behind its end");
        return;
      }
      const { table, columns } = parse(body);
      if (kind !== "T" || typeof table !== "string" || !isTexts(columns)) {
        throw new BackupDamaged("a table has no beginning");
      }
      yield { name: table, columns, ...rowsOf(table) };
    }
  }

  const first = await next();
  if (first.kind !== "M") throw new BackupDamaged("it does not begin with what it says of itself");
  return {
    manifest: parseManifest(first.body.toString()),
    tables,
    end() {
      if (end === undefined) throw new Error("the backup was not read to its end");
      return end;
    },
  };
}

function endOf(body: Buffer, digest: Buffer): End {
  const { sha256, rootKeyId, seal } = parse(body);
  if (sha256 !== digest.toString("hex") || typeof rootKeyId !== "string" || typeof seal !== "string") {
    throw new BackupDamaged("the whole is not what was written");
  }
  return { digest, seal: { rootKeyId, wrapped: Buffer.from(seal, "base64") } };
}

/** The rows of the table are not those that a backup wrote. */
export function otherRows(table: string): BackupDamaged {
  return new BackupDamaged(`the rows of ${table} are not those that were written`);
}

function parse(body: Buffer): Record<string, unknown> {
  try {
    return Object(JSON.parse(body.toString())) as Record<string, unknown>;
  } catch {
    throw new BackupDamaged("a part of it cannot be read");
  }
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((text) => typeof text === "string");
}
