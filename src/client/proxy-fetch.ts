import { type ApiKey, authorizationOf } from "./authorization.ts";

/** The way through Patchbay's proxy for programs that speak HTTP with a connected service themselves. */
export interface ProxyClient {
  /** The URL that stands for the base URL of the connection: an SDK's `baseURL`. */
  baseUrl(slugOrId: string): string;
  /**
   * A `fetch` for SDKs. What it asks for is below the connection's base URL, whatever origin the URL names; the
   * connection's credential takes the place of the SDK's own. A redirect is answered, not followed.
   */
  fetch(slugOrId: string): typeof fetch;
}

export function proxyClientOf({ baseUrl, apiKey }: { baseUrl: string; apiKey: ApiKey }): ProxyClient {
  const root = baseUrl.replace(/\/+$/, "");
  const proxyOf = (slugOrId: string) => `${root}/api/connections/${encodeURIComponent(slugOrId)}/proxy`;
  return {
    baseUrl: proxyOf,
    fetch(slugOrId) {
      const proxy = proxyOf(slugOrId);
      return async (input, init) => {
        const isRequest = input instanceof Request;
        const url = proxied(proxy, isRequest ? input.url : String(input));
        const request = new Request(url, isRequest ? new Request(input, init) : init);
        request.headers.set("authorization", authorizationOf(apiKey));
        // What is there need not be the connection's, and must not get the key.
        return await fetch(request, { redirect: "manual" });
      };
    },
  };
}

/** The URL behind the proxy that stands for one that an SDK asks for. */
function proxied(proxy: string, url: string): string {
  const isBehind = url === proxy || [`/`, `?`, `#`].some((next) => url.startsWith(proxy + next));
  const { path, rest } = split(isBehind ? url.slice(proxy.length) : url);
  return proxy + (path === "" ? "" : resolved(path)) + rest;
}

/**
 * The path without `.` and `..`, which a `Request` would resolve as well, but to a path of Patchbay's own API, for
 * which the key is good too. SDKs put names into paths that their callers were given by others.
 */
function resolved(path: string): string {
  return new URL(`http://any.example/${path.replace(/^\//, "")}`).pathname;
}

/** The path of an absolute or relative URL, and what follows it. */
function split(url: string): { path: string; rest: string } {
  const behind = url.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, "");
  const end = behind.search(/[?#]/);
  return end === -1 ? { path: behind, rest: "" } : { path: behind.slice(0, end), rest: behind.slice(end) };
}
