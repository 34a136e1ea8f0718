import type { Measured, Visit } from "./rounds.ts";

/**
 * A line for each cell: the medians of its rounds, and what its CPU time is beside that of others, as the median of
 * the rounds' ratios and, in brackets, as the ratio of the quietest rounds. The second is what is left if the
 * machine's other work is taken away; where the two differ much, neither says anything. Beside cells with as many
 * callers, the median of the ratios of p50 too: what the database does is in the latency only.
 */
export function printFigures(measured: readonly Measured[]): void {
  console.log(`${"".padEnd(nameWidth)}    CPU/call       p50       p99   CPU, and latency, beside others`);
  for (const { cell, visits } of measured) {
    const figures = [
      `${Math.round(median(visits.map(cpuOf)))} µs`.padStart(12),
      milliseconds(median(visits.map(p50Of))),
      milliseconds(median(visits.map(({ latenciesMs }) => at(0.99, latenciesMs)))),
    ];
    const ratios = measured
      .filter((other) => cell.beside.includes(other.cell.name))
      .map((other) => ratioOf({ cell, visits }, other));
    console.log(`${cell.name.padEnd(nameWidth)}${figures.join("")}   ${ratios.join(", ")}`.trimEnd());
  }
}

const nameWidth = 48;

function ratioOf({ cell, visits }: Measured, other: Measured): string {
  const ofRounds = (figure: (visit: Visit) => number) =>
    median(visits.map((visit, round) => figure(visit) / figure(other.visits[round] ?? visit))).toFixed(2);
  const ofQuietest = Math.min(...visits.map(cpuOf)) / Math.min(...other.visits.map(cpuOf));
  const latency = cell.callers === other.cell.callers ? `, p50 ${ofRounds(p50Of)}` : "";
  return `${ofRounds(cpuOf)} (${ofQuietest.toFixed(2)})${latency} × ${other.cell.name}`;
}

function cpuOf({ cpuMicroseconds }: Visit): number {
  return cpuMicroseconds;
}

function p50Of({ latenciesMs }: Visit): number {
  return at(0.5, latenciesMs);
}

/** The middle one. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return at(0.5, sorted);
}

/** The value that this share of them does not exceed. */
export function at(share: number, sorted: readonly number[]): number {
  return sorted[Math.ceil(sorted.length * share) - 1] ?? Number.NaN;
}

function milliseconds(number: number): string {
  return `${number.toFixed(number < 10 ? 2 : 0)} ms`.padStart(10);
}
