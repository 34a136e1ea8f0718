import { nearest } from "#src/json/nearest.ts";
import type { Endpoint, Parameter, ServiceDescription } from "#src/integrations/endpoints.ts";
import { nameOfOperation, type ActionIdentifier } from "./action-identifier.ts";
import { UnknownAction } from "./errors.ts";
import { tableOf, type StyleTable } from "./parameters.ts";

/** What is known of the services that an organisation calls; undefined for one that only its own callers know. */
export type Describe = (orgId: string, slug: string) => Promise<ServiceDescription | undefined>;

/** An operation that is to be called. */
export interface Action {
  /** Of the integration that it belongs to. */
  readonly slug: string;
  readonly method: string;
  readonly template: string;
  readonly parameters: readonly Parameter[];
  readonly table: StyleTable;
  /** What the service says of it; undefined where nothing is known, and nothing can be checked. */
  readonly endpoint: Endpoint | undefined;
}

/**
 * The operation of that name. A service without any described operation is taken at its caller's word, which only method
 * and path can be.
 */
export function findAction(wanted: ActionIdentifier, service: ServiceDescription | undefined): Action {
  const { slug } = wanted;
  const endpoints = service?.endpoints ?? [];
  const table = tableOf(service?.openApiVersion ?? "");
  const endpoint = endpoints.find((one) => isNamed(one, wanted));
  if (endpoint !== undefined) {
    const { method, path: template, parameters } = endpoint;
    return { slug, method, template, parameters, table, endpoint };
  }
  if ("template" in wanted && endpoints.length === 0) {
    return { ...wanted, parameters: [], table, endpoint };
  }
  const near = nearest(nameOfOperation(wanted), endpoints.flatMap(namesOf));
  throw new UnknownAction(slug, near && `${slug}/${near}`, endpoints.length > 0);
}

function isNamed(endpoint: Endpoint, wanted: ActionIdentifier): boolean {
  if ("operationId" in wanted) return endpoint.operationId === wanted.operationId;
  return endpoint.method === wanted.method && endpoint.path === wanted.template;
}

function namesOf({ operationId, method, path: template }: Endpoint): string[] {
  const names = [nameOfOperation({ method, template })];
  return operationId === undefined ? names : [operationId, ...names];
}
