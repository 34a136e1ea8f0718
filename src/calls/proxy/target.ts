import { targetOf, type Request } from "#src/platform/http.ts";
import { InvalidCall } from "../errors.ts";

/** What a proxied request asks for. */
export interface ProxyTarget {
  /** The connection's slug or id. */
  readonly ref: string;
  /** Behind the base URL; still encoded. */
  readonly path: string;
  /** Without the question mark; still encoded. */
  readonly query: string;
}

const shape = /^\/api\/connections\/([^/]+)\/proxy(\/.*)?$/s;

export function isProxyPath(path: string): boolean {
  return shape.test(path);
}

/** Reads it as it was sent: nothing is decoded but the colon of a slug. */
export function proxyTargetOf(request: Request): ProxyTarget {
  const { path, query } = targetOf(request);
  const [, ref = "", rest = ""] = shape.exec(path) ?? [];
  return { ref: decoded(ref), path: rest, query };
}

function decoded(ref: string): string {
  try {
    return decodeURIComponent(ref);
  } catch {
    throw new InvalidCall("path: give the connection's slug or id behind /api/connections/");
  }
}
