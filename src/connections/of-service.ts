import { isBuiltIn, isCustom } from "#src/integrations/slug.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import type { Connection } from "./connection.ts";

/** Refuses to choose: only of built-in and custom services there is one connection that has the service's slug. */
export function requireChoice(field: string, named: string | undefined, service: string): void {
  if (named !== undefined || hasSlug(service)) return;
  throw new InvalidRequest(
    `${field}: name a connection of ${service}, since it may have many; GET /api/connections lists them`,
  );
}

/** Refuses a connection of another service. */
export function requireOfService(
  field: string,
  { id, integration }: Pick<Connection, "id" | "integration">,
  service: string,
): void {
  if (integration === service) return;
  const or = hasSlug(service) ? ", or none for the one that has this slug" : "";
  throw new InvalidRequest(`${field}: ${id} is a connection of ${integration}; name one of ${service}${or}`);
}

function hasSlug(service: string): boolean {
  return isBuiltIn(service) || isCustom(service);
}
