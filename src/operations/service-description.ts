/** What a service is to its callers: its name, and its endpoints in the order of path and method. */
export interface ServiceDescription {
  readonly name: string;
  /** The import that it is from; 0 for what comes with Patchbay. */
  readonly revision: number;
  readonly endpoints: readonly Endpoint[];
}

/** One operation of a service, as far as all of them are remembered. Its schemas are in its contract. */
export interface Endpoint {
  readonly method: string;
  /** Below the base URL, parameters in braces. */
  readonly path: string;
  readonly name: string;
  /** Unique in its service; undefined where the document gives none. */
  readonly operationId: string | undefined;
  /** All of them are needed. */
  readonly scopes: readonly string[];
  readonly deprecated: boolean;
}

/** Every scope that an endpoint of the service needs; none for an unknown service. */
export function scopesOf(service: ServiceDescription | undefined): string[] {
  const scopes = (service?.endpoints ?? []).flatMap((endpoint) => endpoint.scopes);
  return [...new Set(scopes)].sort();
}
