import { sql, type SQL } from "#src/db/drizzle.cjs";
import type { Tx } from "#src/db/database.ts";
import { textArray } from "#src/db/columns.ts";
import type { Environment } from "#src/platform/caller.ts";

/** An endpoint that is due, claimed by this replica, and what there is to do for it. */
export interface DueEndpoint {
  readonly orgId: string;
  readonly id: string;
  /** The claim that it was taken with. */
  readonly owner: string;
  readonly version: number;
  readonly url: string;
  /** Without those that are paused. */
  readonly types: readonly string[];
  readonly ordering: "none" | "subject" | "log";
  readonly afterSchedule: "skip" | "pause";
  readonly body: "webhook" | "binary";
  readonly contentType: string;
  readonly maxInFlight: number;
  readonly perSecond: number | null;
  readonly keepSuccesses: boolean;
  readonly state: "active" | "failing";
  readonly failures: number;
  readonly failingSince: Date | null;
  readonly lastFailureAt: Date | null;
  readonly headers: SealedPart | undefined;
  /** The newest first. */
  readonly secrets: readonly SealedPart[];
  readonly behind: readonly Behind[];
  readonly parked: readonly Parked[];
  /** `<log> <subject>` of what waits for an event that failed. */
  readonly blocked: ReadonlySet<string>;
}

/** A sealed secret of an endpoint, and the wrapped key that opens it. */
export interface SealedPart {
  readonly version: number;
  readonly kekVersion: number;
  readonly sealed: Buffer;
  readonly wrapped: Buffer;
}

/** A log in which there is something behind the endpoint's cursor. */
export interface Behind {
  readonly log: string;
  readonly after: number;
  readonly previous: number | null;
  /** Where the log ended when the endpoint was claimed. What came since is for its next turn. */
  readonly head: number;
}

/** An event that failed, or waits for one that did. */
export interface Parked {
  readonly log: string;
  readonly seq: number;
  readonly previous: number | null;
  readonly subject: string | null;
  readonly attempts: number;
  readonly redelivery: boolean;
  readonly webhookId: string | null;
  readonly parkedAt: Date;
}

/** An event that is to be tried later, or, without a time, is given up. */
export interface ToPark extends Parked {
  readonly nextTryAt: Date | undefined;
  readonly status: number | undefined;
  readonly stage: string | undefined;
}

/** A try, for the list of attempts. */
export interface Attempt {
  readonly at: Date;
  readonly log: string;
  readonly seq: number;
  readonly attempt: number;
  readonly status: number | undefined;
  readonly latencyMs: number;
  readonly stage: string | undefined;
  readonly answerType: string | undefined;
  readonly answerBytes: number | undefined;
}

/** What a turn did for its endpoint. */
export interface Settlement extends Pick<
  DueEndpoint,
  "orgId" | "id" | "url" | "owner" | "version" | "failures" | "failingSince"
> {
  readonly state: "active" | "failing" | "paused";
  readonly stateReason: string | null;
  readonly lastSuccessAt: Date | undefined;
  readonly lastFailureAt: Date | undefined;
  /** Until then nothing is sent to it. */
  readonly notBefore: Date | undefined;
  readonly cursors: readonly {
    readonly log: string;
    readonly seq: number;
    readonly previous: number | null;
  }[];
  readonly parked: readonly ToPark[];
  /** Of what was parked: what need not be sent any more. */
  readonly done: readonly { readonly log: string; readonly seq: number }[];
  /** In the order in which they ended. */
  readonly attempts: readonly Attempt[];
}

/** Logs that moved. Null stands for any. */
export interface Moved {
  readonly orgs: readonly string[] | null;
  readonly logs: readonly string[] | null;
}

/** Makes idle endpoints due whose logs moved. */
export async function wakeEndpoints(
  tx: Tx,
  environment: Environment,
  now: Date,
  { orgs, logs }: Moved,
): Promise<void> {
  await tx.execute(
    sql`select wake_webhooks(${environment}, ${now.toISOString()}::timestamptz, ${orgs && textArray(orgs)},
      ${logs && textArray(logs)})`,
  );
}

/** What may be claimed. */
export interface ClaimRules {
  readonly environment: Environment;
  /** Tells this claim from all others. */
  readonly owner: string;
  readonly most: number;
  readonly mostOfOne: number;
  /** Organisations of which no more are wanted for now. */
  readonly full: readonly string[];
}

/** Claims endpoints that are due, of all organisations. */
export async function claimDue(tx: Tx, now: Date, rules: ClaimRules): Promise<DueEndpoint[]> {
  const { environment, owner, most, mostOfOne, full } = rules;
  const rows = await tx.execute<{ endpoint: string }>(
    sql`select claim_due_webhooks(${environment}, ${now.toISOString()}::timestamptz, ${owner}, ${most}, ${mostOfOne},
      ${textArray(full)}) as endpoint`,
  );
  return rows.map(({ endpoint }) => fromRow(JSON.parse(endpoint) as ClaimedRow, owner));
}

/** Records what turns did; answers for which endpoints. The others were changed meanwhile, or claimed by others. */
export async function settleTurns(
  tx: Tx,
  now: Date,
  turns: readonly Settlement[],
): Promise<ReadonlySet<string>> {
  const all = (of: (turn: Settlement) => readonly object[]): SQL => {
    const rows = turns.flatMap((turn) => of(turn).map((row) => ({ orgId: turn.orgId, id: turn.id, ...row })));
    return sql`${JSON.stringify(rows)}::json`;
  };
  const endpoints = all(({ owner, version, state, stateReason, failures, ...turn }) => {
    const { failingSince, lastSuccessAt, lastFailureAt, notBefore } = turn;
    const times = { failingSince, lastSuccessAt, lastFailureAt, notBefore };
    return [{ owner, version, state, stateReason, failures, ...times }];
  });
  const rows = await tx.execute<{ id: string }>(
    sql`select settle_webhooks(${now.toISOString()}::timestamptz, ${endpoints},
      ${all(({ cursors }) => cursors)}, ${all(({ done }) => done)}, ${all(({ parked }) => parked)},
      ${all(({ attempts: [first, ...more] }) => (first ? [{ at: first.at, tries: [first, ...more] }] : []))}) as id`,
  );
  return new Set(rows.map(({ id }) => id));
}

/** Forgets, of all endpoints, what was given up before that moment. */
export async function eraseDead(tx: Tx, before: Date): Promise<void> {
  await tx.execute(sql`select erase_dead_deliveries(${before.toISOString()}::timestamptz)`);
}

interface SealedText extends Omit<SealedPart, "sealed" | "wrapped"> {
  readonly sealed: string;
  readonly wrapped: string | null;
}

interface ParkedText extends Omit<Parked, "parkedAt"> {
  readonly parkedAt: string;
}

interface ClaimedRow extends Omit<
  DueEndpoint,
  "owner" | "failingSince" | "lastFailureAt" | "headers" | "secrets" | "behind" | "parked" | "blocked"
> {
  readonly pausedTypes: readonly string[];
  readonly failingSince: string | null;
  readonly lastFailureAt: string | null;
  readonly headers: SealedText | null;
  readonly secrets: readonly SealedText[] | null;
  readonly behind: readonly Behind[] | null;
  readonly parked: readonly ParkedText[] | null;
  readonly blocked: readonly (string | null)[] | null;
}

function fromRow({ pausedTypes, ...row }: ClaimedRow, owner: string): DueEndpoint {
  const { failingSince, lastFailureAt, headers, secrets, behind, parked, blocked } = row;
  // What several patterns select goes on if one of them is not paused.
  const paused = new Set(pausedTypes);
  return {
    ...{ ...row, owner, behind: behind ?? [] },
    types: row.types.filter((type) => !paused.has(type)),
    failingSince: failingSince === null ? null : new Date(failingSince),
    lastFailureAt: lastFailureAt === null ? null : new Date(lastFailureAt),
    headers: headers === null ? undefined : fromSealed(headers),
    secrets: (secrets ?? []).map(fromSealed),
    parked: (parked ?? []).map((one) => ({ ...one, parkedAt: new Date(one.parkedAt) })),
    blocked: new Set((blocked ?? []).filter((one) => one !== null)),
  };
}

/** A key that was destroyed is empty here: then nothing opens, of this endpoint alone. */
function fromSealed({ sealed, wrapped, ...part }: SealedText): SealedPart {
  return { ...part, sealed: Buffer.from(sealed, "base64"), wrapped: Buffer.from(wrapped ?? "", "base64") };
}
