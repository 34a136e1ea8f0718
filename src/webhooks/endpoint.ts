import type { Caller, Environment } from "#src/platform/caller.ts";
import { newId } from "#src/platform/ids.ts";

/** What a failed event holds up until it is delivered or given up. */
export const orderings = ["none", "subject", "log"] as const;
/** What comes after the last try of an event, where all behind it wait. */
export const endsOfSchedule = ["skip", "pause"] as const;
/** What is sent: a document with the data in it, under one of two media types, or the data as it came. */
export const formats = ["json", "cloudevents", "binary"] as const;

/** Why an endpoint stands still, as the contract names it. */
export type PauseReason = "called" | "gone" | "gave_up" | "failing" | "rights";

/** Where events are sent to, and how that goes. */
export interface Endpoint extends EndpointSettings {
  readonly orgId: string;
  readonly id: string;
  readonly environment: Environment;
  /** Those of its types that wait, because its owner may no longer read them. */
  readonly pausedTypes: readonly string[];
  /** Counts up with each set of headers that is stored. */
  readonly headersVersion: number;
  readonly state: "active" | "failing" | "paused";
  /** Undefined for an active one. */
  readonly stateReason: string | undefined;
  /** The key whose right to read its types counts, and the user that it acted for. */
  readonly owner: EndpointOwner;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  readonly failingSince: Date | undefined;
  readonly lastSuccessAt: Date | undefined;
  readonly lastFailureAt: Date | undefined;
  /** Newest first; those that have ended may be among them. */
  readonly secrets: readonly EndpointSecret[];
  readonly positions: readonly Position[];
}

/** What people decide of an endpoint. */
export interface EndpointSettings {
  readonly url: string;
  readonly description: string;
  readonly types: readonly string[];
  readonly headerNames: readonly string[];
  readonly ordering: (typeof orderings)[number];
  readonly afterSchedule: (typeof endsOfSchedule)[number];
  readonly format: (typeof formats)[number];
  readonly maxInFlight: number;
  /** Undefined for as fast as it answers. */
  readonly perSecond: number | undefined;
  readonly keepSuccesses: boolean;
}

/** Who answers for where the events go. */
export interface EndpointOwner {
  readonly keyId: string;
  readonly userId: string | undefined;
}

/** A secret that deliveries are signed with, without the secret. */
export interface EndpointSecret {
  readonly version: number;
  readonly createdAt: Date;
  /** Undefined for the newest. */
  readonly validUntil: Date | undefined;
}

/** How far a log was read. */
export interface Position {
  readonly log: string;
  readonly seq: number;
}

/** A new endpoint, which has its first secret, and reads its logs from these positions on. */
export function newEndpoint(
  settings: EndpointSettings,
  caller: Caller,
  positions: readonly Position[],
  at: Date,
): Endpoint {
  const { orgId, environment } = caller;
  return {
    ...settings,
    ...{ orgId, environment, positions },
    ...{ id: newId("whe", at), owner: ownerOf(caller), createdAt: at, updatedAt: at },
    ...{ pausedTypes: [], headersVersion: 1, version: 1, state: "active", stateReason: undefined },
    ...{ failingSince: undefined, lastSuccessAt: undefined, lastFailureAt: undefined },
    secrets: [{ version: 1, createdAt: at, validUntil: undefined }],
  };
}

/** The endpoint with other settings. Whoever decides where events go, or which, answers for that from then on. */
export function update(
  endpoint: Endpoint,
  settings: Partial<EndpointSettings>,
  caller: Caller,
  at: Date,
): Endpoint {
  const { url, types, headerNames } = settings;
  const isAdopted = (url ?? types ?? headerNames) !== undefined;
  return {
    ...changed(endpoint, at),
    ...settings,
    ...(isAdopted && { owner: ownerOf(caller), pausedTypes: [] }),
    ...(isAdopted && waitsForRights(endpoint) && { state: "active", stateReason: undefined }),
  };
}

/** Whether it stands still only because its owner may read none of its types. */
export function waitsForRights({ state, stateReason }: Endpoint): boolean {
  return state === "paused" && stateReason === "rights";
}

/** The endpoint standing still; undefined if it does already. */
export function pause(endpoint: Endpoint, reason: PauseReason, at: Date): Endpoint | undefined {
  if (endpoint.state === "paused") return undefined;
  return { ...changed(endpoint, at), state: "paused", stateReason: reason };
}

/** The endpoint without these types, standing still if it has no other: then nothing that it is to get is passed over. */
export function pauseTypes(endpoint: Endpoint, types: readonly string[], at: Date): Endpoint {
  const pausedTypes = [...endpoint.pausedTypes, ...types];
  const next = { ...changed(endpoint, at), pausedTypes };
  return activeTypes(next).length > 0 ? next : (pause(next, "rights", at) ?? next);
}

/** The endpoint going on, as if it had never failed. */
export function resume(endpoint: Endpoint, at: Date): Endpoint {
  return { ...changed(endpoint, at), state: "active", stateReason: undefined, failingSince: undefined };
}

/** Its types without those that wait. */
export function activeTypes({ types, pausedTypes }: Pick<Endpoint, "types" | "pausedTypes">): string[] {
  return types.filter((type) => !pausedTypes.includes(type));
}

function changed(endpoint: Endpoint, at: Date): Endpoint {
  return { ...endpoint, version: endpoint.version + 1, updatedAt: at };
}

function ownerOf({ via, userId }: Caller): EndpointOwner {
  return { keyId: via.id, userId };
}
