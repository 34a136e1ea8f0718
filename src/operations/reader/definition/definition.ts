import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isObject } from "#src/json/object.ts";
import { present } from "#src/platform/present.ts";
import { authMethodsOf } from "./auth-methods.ts";
import type { DerivedDefinition, ImportProblem } from "#src/operations/import/imported.ts";
import { requirementsOf } from "./requirements.ts";
import { readServers } from "./servers.ts";
import { lineOf } from "./text.ts";

/** What a document says of the integration, and of what it cannot be. */
export interface FoundDefinition {
  /** Each part of it passes `requireSound`. */
  readonly definition: DerivedDefinition;
  readonly problems: readonly ImportProblem[];
  /** Whether calls of an operation, or of all below a path, that has these `servers` go where the base URL is. */
  readonly isOwnServer: (servers: JsonValue | undefined) => boolean;
}

/** Each is judged as a definition is, which takes time; an integration has far fewer. */
const mostRequirements = 200;

/**
 * Reads where the service is and how one signs in to it. The document is of OpenAPI 3.1 or 3.2; `url` is where it was
 * found, which its servers may be relative to.
 */
export function definitionFrom(
  document: JsonObject,
  { url }: { readonly url?: string | undefined } = {},
): FoundDefinition {
  const problems: ImportProblem[] = [];
  const report = (problem: ImportProblem) => void problems.push(problem);
  const { info, components, servers } = document;
  const place = readServers(servers, url, report);
  const schemes =
    isObject(components) && isObject(components["securitySchemes"]) ? components["securitySchemes"] : {};
  const requirements = requirementsOf(document, schemes);
  for (const { pointer } of requirements.slice(mostRequirements)) {
    report({ pointer, reason: `is not read: the first ${mostRequirements} ways to sign in are` });
  }
  const authMethods = authMethodsOf(schemes, requirements.slice(0, mostRequirements), place, report);
  const { baseUrl, placeholders } = place;
  const definition = present({
    name: (isObject(info) ? lineOf(info["title"], 128) : undefined) ?? "Imported service",
    baseUrl,
    placeholders: Object.keys(placeholders).length === 0 ? undefined : placeholders,
    authMethods,
  });
  return { definition, problems: distinct(problems), isOwnServer: place.isOwn };
}

/** A scheme of many requirements is reported for each of them. */
function distinct(problems: readonly ImportProblem[]): ImportProblem[] {
  return [...new Map(problems.map((problem) => [`${problem.pointer} ${problem.reason}`, problem])).values()];
}
