import { nearest } from "#src/json/nearest.ts";
import type { Endpoint, ServiceDescription } from "#src/operations/service-description.ts";
import { nameOfOperation, type ActionIdentifier } from "./action-identifier.ts";
import { UnknownAction } from "./errors.ts";

/** An operation that was found by its name. */
export interface FoundAction {
  /** Of the integration that it belongs to. */
  readonly slug: string;
  readonly method: string;
  readonly template: string;
  /** What the service says of it; undefined where nothing is known. */
  readonly endpoint: Endpoint | undefined;
}

/**
 * The operation of that name. A service without any described operation is taken at its caller's word, which only method
 * and path can be.
 */
export function findAction(wanted: ActionIdentifier, service: ServiceDescription | undefined): FoundAction {
  const { slug } = wanted;
  const endpoints = service?.endpoints ?? [];
  const endpoint = endpoints.find((one) => isNamed(one, wanted));
  if (endpoint !== undefined) return { slug, method: endpoint.method, template: endpoint.path, endpoint };
  if ("template" in wanted && endpoints.length === 0) return { ...wanted, endpoint };
  const near = nearest(nameOfOperation(wanted), endpoints.flatMap(namesOf));
  throw new UnknownAction(slug, near, endpoints.length > 0);
}

function isNamed(endpoint: Endpoint, wanted: ActionIdentifier): boolean {
  if ("operationId" in wanted) return endpoint.operationId === wanted.operationId;
  return endpoint.method === wanted.method && endpoint.path === wanted.template;
}

function namesOf({ operationId, method, path: template }: Endpoint): string[] {
  const names = [nameOfOperation({ method, template })];
  return operationId === undefined ? names : [operationId, ...names];
}
