import type { Ask } from "./askers.ts";
import { UsageError } from "./options.ts";
import type { Server } from "./server.ts";

/** One thing that is measured: a question to one server. */
export interface Cell {
  readonly name: string;
  readonly server: Server;
  readonly ask: Ask;
  /** How many ask at once, each always waiting for its answer. */
  readonly callers: number;
  /** The names of the cells that it is compared with. */
  readonly beside: readonly string[];
}

/** The cells whose names contain the text, and those that they are compared with. */
export function chosen(cells: readonly Cell[], only: string): Cell[] {
  const asked = cells.filter(({ name }) => name.includes(only));
  if (asked.length === 0) {
    const names = cells.map(({ name }) => name).join("; ");
    throw new UsageError(`no cell has ${JSON.stringify(only)} in its name; there are ${names}`);
  }
  const beside = new Set(asked.flatMap((cell) => cell.beside));
  return cells.filter((cell) => asked.includes(cell) || beside.has(cell.name));
}

/** How long everything is measured. */
export interface Effort {
  readonly rounds: number;
  /** For this long each round visits each cell; calls that are on their way by then are waited for. */
  readonly visitMs: number;
}

/** What one visit saw. */
export interface Visit {
  /** CPU time of the server's process for each call. */
  readonly cpuMicroseconds: number;
  /** How long the calls took, the shortest first. */
  readonly latenciesMs: readonly number[];
}

/** A cell and its visits, one of each round. */
export interface Measured {
  readonly cell: Cell;
  readonly visits: readonly Visit[];
}

/**
 * Visits every cell in every round, so that whatever else the machine does disturbs all of them; every other round in
 * the opposite order, so that no cell is always behind the same one.
 */
export async function measure(cells: readonly Cell[], { rounds, visitMs }: Effort): Promise<Measured[]> {
  for (const cell of cells) await visit(cell, 2 * visitMs);
  const measured = cells.map((cell) => ({ cell, visits: [] as Visit[] }));
  for (let round = 0; round < rounds; round++) {
    for (const { cell, visits } of round % 2 === 0 ? measured : measured.toReversed()) {
      visits.push(await visit(cell, visitMs));
    }
  }
  return measured;
}

async function visit({ server, ask, callers }: Cell, visitMs: number): Promise<Visit> {
  const latenciesMs: number[] = [];
  const before = await server.cpu();
  const end = performance.now() + visitMs;
  async function keepAsking() {
    do {
      const askedAt = performance.now();
      await ask();
      latenciesMs.push(performance.now() - askedAt);
    } while (performance.now() < end);
  }
  await Promise.all(Array.from({ length: callers }, keepAsking));
  const cpuMicroseconds = ((await server.cpu()) - before) / latenciesMs.length;
  return { cpuMicroseconds, latenciesMs: latenciesMs.toSorted((a, b) => a - b) };
}
