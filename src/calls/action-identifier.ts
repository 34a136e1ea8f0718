import { InvalidRequest } from "#src/platform/errors.ts";

/** What an action is called: an operation of a service, by its id or by its method and path template. */
export type ActionIdentifier = { readonly slug: string } & OperationName;

/** An operation among those of its service. */
export type OperationName =
  { readonly operationId: string } | { readonly method: string; readonly template: string };

const identifier =
  /^((?:custom:)?[a-z0-9][a-z0-9-]*)\/(?:(GET|HEAD|OPTIONS|POST|PUT|PATCH|DELETE) (\/[!-~]*)|([!-~]+))$/;

/** Reads `<slug>/<operationId>` or `<slug>/<METHOD> <path template>`. A slug may have a colon, and never a slash. */
export function parseAction(text: string): ActionIdentifier {
  const [, slug, method, template, operationId] = identifier.exec(text) ?? [];
  if (slug !== undefined && operationId !== undefined) return { slug, operationId };
  if (slug !== undefined && method !== undefined && template !== undefined) return { slug, method, template };
  throw new InvalidRequest(
    "actionIdentifier: give <service>/<operationId>, such as aml/submitSarFiling, " +
      "or <service>/<METHOD> <path>, such as custom:ledger/GET /v1/accounts/{id}",
  );
}

/** How operations of a service are called in identifiers. */
export function nameOfOperation(name: OperationName): string {
  return "operationId" in name ? name.operationId : `${name.method} ${name.template}`;
}
