import { describeFailure } from "../describe-failure.ts";

/** What one check found, what to do about it, and what later checks go on with. */
export interface Finding<Found = unknown> {
  readonly state: "ok" | "warn" | "fail";
  readonly text: string;
  readonly found?: Found;
}

export function ok<Found>(text: string, found?: Found): Finding<Found> {
  return { state: "ok", text, ...(found !== undefined && { found }) };
}

export function warn<Found>(text: string, found?: Found): Finding<Found> {
  return { ...ok(text, found), state: "warn" };
}

export function fail(text: string): Finding<never> {
  return { state: "fail", text };
}

/** Makes the check; what it throws is a finding as well. */
export async function tried<Found>(
  look: () => Finding<Found> | Promise<Finding<Found>>,
): Promise<Finding<Found>> {
  try {
    return await look();
  } catch (error) {
    return fail(describeFailure(error));
  }
}

const mostShown = 20;

/** A line for each, and of many only the first, with how many there are. */
export function shortened(findings: readonly Finding[]): readonly Finding[] {
  if (findings.length <= mostShown) return findings;
  return [...findings.slice(0, mostShown), warn(`and ${findings.length - mostShown} more like these`)];
}
