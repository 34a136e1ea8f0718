import { setImmediate as nextTurn } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type {
  CatalogService,
  OperationReference,
  ValidatedReferenceSchema,
} from "#gen/patchbay/catalog/v1/catalog_service_pb.js";
import type { ActionInput } from "#gen/patchbay/connections/v1/action_pb.js";
import { parseAction } from "#src/calls/action-identifier.ts";
import type { Action } from "#src/calls/action-input.ts";
import { describedAction, describedBy } from "#src/calls/call-action.ts";
import type { Checks, InputCheck } from "#src/calls/checks/checks.ts";
import { InvalidInput, UnknownAction } from "#src/calls/errors.ts";
import { problem, type InputProblem } from "#src/calls/input-problems.ts";
import type { Connections } from "#src/connections/connections.ts";
import { integrationsNamed, listBySlug } from "#src/connections/store.ts";
import type { Database } from "#src/db/database.ts";
import { nearest } from "#src/json/nearest.ts";
import type { Operations } from "#src/operations/operations.ts";
import { callerOf, type Caller } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";

/** What validation needs. */
export interface ValidationParts {
  readonly database: Pick<Database, "read">;
  readonly connections: Pick<Connections, "integrationNamed">;
  readonly operations: Operations;
  readonly checks: Pick<Checks, "input">;
}

type Validation = Pick<ServiceImpl<typeof CatalogService>, "validateInput" | "validateReferences">;

/** As many problems as are answered. */
const maxAnswered = 100;
/** As many characters do the problems of all references have, beyond the first one of each: writing more would hold up other calls. */
const maxCharacters = 256 * 1024;
/** Among as many services is one looked for that may have been meant. */
const maxServices = 200;

/** Says what is wrong with calls before they are made. */
export function createValidation(parts: ValidationParts): Validation {
  const { database, connections, operations, checks } = parts;

  /** Does with the input what a call does, but for the call. */
  async function validated(action: Action, input: ActionInput | undefined, context: HandlerContext) {
    let notChecked = action.contract === undefined ? "the catalog does not describe the service" : undefined;
    const check: InputCheck = async (contract, json) => {
      const checked = await checks.input(callerOf(context).orgId, contract, json);
      notChecked = checked.notChecked;
      return checked.problems;
    };
    try {
      await describedAction(action, input, check, context);
      return answerOf([], notChecked);
    } catch (error) {
      if (error instanceof InvalidInput) return answerOf(error.problems, notChecked);
      throw error;
    }
  }

  /** By name, whose operations each service has, or what is wrong with it. */
  async function servicesNamed(caller: Caller, names: readonly string[]) {
    const wanted = [...new Set(names)];
    return database.read(caller.orgId, async (tx) => {
      const connected = await integrationsNamed(tx, caller, wanted);
      const page = { after: "", limit: maxServices };
      const known = connected.size === wanted.length ? [] : await listBySlug(tx, caller, page);
      const slugs = known.map(({ slug }) => slug);
      return new Map(
        wanted.map((name) => [
          name,
          connected.get(name) ?? problem("/service", "is not connected", nearest(name, slugs)),
        ]),
      );
    });
  }

  async function validatedReference(
    { operation, input }: OperationReference,
    integration: string | InputProblem = "",
    context: HandlerContext,
  ) {
    if (typeof integration !== "string") return answerOf([integration], undefined);
    let action: Action;
    try {
      const wanted = parseAction(`${integration}/${operation}`);
      action = await describedBy(operations, callerOf(context).orgId, wanted);
    } catch (error) {
      return answerOf([operationProblem(error)], undefined);
    }
    if (input === undefined) return answerOf([], undefined);
    const { problems, ...others } = await validated(action, input, context);
    return { ...others, problems: problems.map((one) => ({ ...one, pointer: `/input${one.pointer}` })) };
  }

  return {
    async validateInput({ actionIdentifier, input }, context) {
      const caller = callerOf(context);
      const wanted = parseAction(actionIdentifier);
      // First: which operations a service has is nothing to a caller that may not know of it.
      const slug = await connections.integrationNamed(caller, wanted.slug);
      return validated(await describedBy(operations, caller.orgId, { ...wanted, slug }), input, context);
    },

    async validateReferences({ references }, context) {
      const services = references.map(({ service }) => service);
      const found = await servicesNamed(callerOf(context), services);
      const results: ReturnType<typeof answerOf>[] = [];
      let room = maxCharacters;
      for (const reference of references) {
        // What is remembered is answered at once, and others have calls as well.
        await nextTurn();
        context.signal.throwIfAborted();
        const result = await validatedReference(reference, found.get(reference.service), context);
        const shown = result.problems.filter((one, at) => at === 0 || (room -= lengthOf(one)) >= 0);
        results.push({ ...result, problems: shown });
      }
      return { valid: results.every(({ valid }) => valid), results };
    },
  };
}

function lengthOf({ pointer, reason, suggestion = "" }: InputProblem): number {
  return pointer.length + reason.length + suggestion.length;
}

function operationProblem(error: unknown): InputProblem {
  if (error instanceof UnknownAction) {
    const reason = error.isDescribed
      ? "is unknown"
      : "is unknown: the catalog names no operations of the service, so give <METHOD> <path template>";
    return problem("/operation", reason, error.near);
  }
  if (error instanceof InvalidRequest) {
    return problem("/operation", "is neither an operationId nor <METHOD> <path template>");
  }
  throw error;
}

function answerOf(problems: readonly InputProblem[], notChecked: string | undefined) {
  return {
    valid: problems.length === 0,
    problems: problems.slice(0, maxAnswered),
    ...(notChecked !== undefined && { notChecked }),
  } satisfies MessageInitShape<typeof ValidatedReferenceSchema>;
}
