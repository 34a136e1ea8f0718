import { auditLog, serviceLog } from "./event.ts";

/** Types of this service's own that begin alike. */
export interface OwnTypes {
  /** Which scope reads them. */
  readonly scope: string;
  /** What changes of a key or a connection may be in both. */
  readonly logs: readonly string[];
  /** Whether they tell of connections that the rights of a key may leave out. */
  readonly tellOfConnections: boolean;
}

/** This service's own types, by what they begin with. */
export const ownTypes: ReadonlyMap<string, OwnTypes> = new Map([
  ["audit", { scope: "audit:view", logs: [auditLog], tellOfConnections: true }],
  ["connection", { scope: "connections:view", logs: [auditLog, serviceLog], tellOfConnections: true }],
  ["api_key", { scope: "api:manage", logs: [auditLog, serviceLog], tellOfConnections: false }],
  ["channel", { scope: "events:view", logs: [serviceLog], tellOfConnections: true }],
  ["webhook", { scope: "webhooks:manage", logs: [serviceLog], tellOfConnections: false }],
]);

/** The scope that reading events of the type takes, or of a pattern of such types. */
export function readScopeOf(type: string): string {
  return ownTypes.get(type.split(".", 1)[0] ?? "")?.scope ?? "events:view";
}
