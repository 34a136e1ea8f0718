import { expect } from "vitest";
import type { Deployment } from "./deployment.ts";
import type { Load } from "./load.ts";

/** Of what a caller is told, what would be a word of a program and not of the service. */
const unclean =
  /\bat \S+ \(|\bat file:|node:|\.ts:|node_modules|ECONN|EPIPE|ETIMEDOUT|ENOSPC|SQLSTATE|\b(?:57P0\d|53\d{3}|08\d{3}|25P0\d)\b|postgres(?!ql)|pg_|undefined|\[object|Error:|\/tmp\//i;

/** The reasons for which a call is not served while the database is away. */
export const databaseIsAway = ["DATABASE_UNAVAILABLE", "INTAKE_UNAVAILABLE"];

/** What the log says when Postgres ended under the service. */
export const endedByItself = "the embedded Postgres ended by itself and is started again";

/** Everything that clients were told is in words of the service, with a reason and without anything secret. */
export function expectCleanAnswers(load: Load, reasons: readonly string[]): void {
  const { refusals } = load.journal;
  const told = [...new Set(refusals.map(({ reason }) => reason))];
  expect(told.filter((reason) => reason === undefined || !reasons.includes(reason))).toEqual([]);
  const secrets = [...load.secrets.values()];
  const texts = [...new Set(refusals.map(({ text }) => text))];
  expect(
    texts.filter((text) => unclean.test(text) || secrets.some((secret) => text.includes(secret))),
  ).toEqual([]);
}

/** The log has no line of level error beside those, and no secret. */
export function expectCleanLog(deployment: Deployment, load: Load, errors: readonly string[] = []): void {
  const lines = deployment.logged();
  const unexpected = lines.filter(({ level, msg }) => level >= 50 && !errors.includes(msg));
  expect(unexpected).toEqual([]);
  const text = JSON.stringify(lines);
  expect([...load.secrets.values(), deployment.adminKey].filter((secret) => text.includes(secret))).toEqual(
    [],
  );
}
