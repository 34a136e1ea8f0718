import { toJson, type JsonValue, type Message } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import type { Pepper } from "#src/crypto/service-keys.ts";
import type { Tx } from "#src/db/database.ts";
import { callerOf } from "#src/platform/caller.ts";
import { InvalidRequest } from "#src/platform/errors.ts";
import { AlreadyCreated, IdempotencyKeyReused } from "./errors.ts";
import { findRequest, forgetOldRequests, forgetRequest, insertRequest } from "./idempotency-store.ts";

/** Lets the change go on, or throws because the same request made it before. The first thing in its transaction. */
export type TakeEffect = (tx: Tx, effect: Effect) => Promise<void>;

/** What a request is about to do. */
export interface Effect {
  /** The id of what it makes. */
  readonly target: string;
  /** What to tell those who ask again, given the id of what was made then. */
  readonly next: (target: string) => string;
}

/** For so long, a retry is known as one. */
const keptMs = 24 * 60 * 60 * 1000;

/** What makes a request with an `Idempotency-Key` take effect once; nothing for one without. */
export function takesEffectOnce(
  context: HandlerContext,
  request: Message,
  pepper: Pepper,
  now: Date,
): TakeEffect {
  const name = idempotencyKeyOf(context);
  if (name === undefined) return async () => {};
  const { orgId, apiKeyId } = callerOf(context);
  // Both hashed as secrets are: the request may hold one, and the name be derived from one.
  const named = { orgId, callerKeyId: apiKeyId, idempotencyKey: pepper(name).toString("hex") };
  const requestHash = pepper(textOf(context, request));
  const old = new Date(now.getTime() - keptMs);

  return async (tx, { target, next }) => {
    await forgetRequest(tx, named, old);
    // The insert waits for one of the same name that is still on its way.
    if (await insertRequest(tx, { ...named, requestHash, target, at: now })) {
      return forgetOldRequests(tx, orgId, old);
    }
    const known = await findRequest(tx, named);
    if (known?.requestHash.equals(requestHash) !== true) throw new IdempotencyKeyReused();
    throw new AlreadyCreated(known.target, next(known.target));
  };
}

/** Two headers arrive as one, with a space between. */
const idempotencyKey = /^[\x21-\x7e]{1,255}$/;

function idempotencyKeyOf({ requestHeader }: HandlerContext): string | undefined {
  const name = requestHeader.get("idempotency-key") ?? undefined;
  if (name !== undefined && !idempotencyKey.test(name)) {
    throw new InvalidRequest("idempotency-key: give one header, of 1 to 255 visible ASCII characters");
  }
  return name;
}

/** Method and request as text that is the same on every protocol. */
function textOf({ method }: HandlerContext, request: Message): string {
  const json = JSON.stringify(toJson(method.input, request), (_name, value: JsonValue) => inOrder(value));
  return `${method.parent.typeName}/${method.name} ${json}`;
}

/** Maps come in any order, and mean the same. */
function inOrder(value: JsonValue): JsonValue {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
