import type { Measured, Visit } from "./rounds.ts";

/**
 * A line for each cell: the medians of its rounds, and what its CPU time is beside that of others, as the median of
 * the rounds' ratios and, in brackets, as the ratio of the quietest rounds. The second is what is left if the
 * machine's other work is taken away; where the two differ much, neither says anything.
 */
export function printFigures(measured: readonly Measured[]): void {
  console.log(`${"".padEnd(nameWidth)}    CPU/call       p50       p99   CPU beside others`);
  for (const { cell, visits } of measured) {
    const figures = [
      `${Math.round(median(visits.map(cpuOf)))} µs`.padStart(12),
      milliseconds(median(visits.map(({ latenciesMs }) => at(0.5, latenciesMs)))),
      milliseconds(median(visits.map(({ latenciesMs }) => at(0.99, latenciesMs)))),
    ];
    const ratios = measured
      .filter((other) => cell.beside.includes(other.cell.name))
      .map((other) => ratioOf(visits, other));
    console.log(`${cell.name.padEnd(nameWidth)}${figures.join("")}   ${ratios.join(", ")}`.trimEnd());
  }
}

const nameWidth = 48;

function ratioOf(visits: readonly Visit[], other: Measured): string {
  const ofRounds = visits.map((visit, round) => cpuOf(visit) / cpuOf(other.visits[round] ?? visit));
  const ofQuietest = Math.min(...visits.map(cpuOf)) / Math.min(...other.visits.map(cpuOf));
  return `${median(ofRounds).toFixed(2)} (${ofQuietest.toFixed(2)}) × ${other.cell.name}`;
}

function cpuOf({ cpuMicroseconds }: Visit): number {
  return cpuMicroseconds;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return at(0.5, sorted);
}

function at(share: number, sorted: readonly number[]): number {
  return sorted[Math.ceil(sorted.length * share) - 1] ?? Number.NaN;
}

function milliseconds(number: number): string {
  return `${number.toFixed(number < 10 ? 2 : 0)} ms`.padStart(10);
}
