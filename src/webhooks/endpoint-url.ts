import { InvalidBaseUrl } from "#src/outbound/errors.ts";
import type { Outbound } from "#src/outbound/outbound.ts";
import { InvalidRequest } from "#src/platform/errors.ts";

/**
 * The URL in the form to store. A base URL loses the slash at its end, to which paths are appended; here nothing is, and
 * some servers redirect from one form to the other, which no delivery follows.
 */
export function endpointUrl(
  raw: string,
  { checkSecureBaseUrl }: Pick<Outbound, "checkSecureBaseUrl">,
): string {
  if (/[?#]/.test(raw)) {
    throw new InvalidRequest(
      "url: leave out query and fragment; a token that the receiver asks for goes into headers",
    );
  }
  try {
    const url = checkSecureBaseUrl(raw);
    return raw.endsWith("/") ? `${url}/` : url;
  } catch (error) {
    if (!(error instanceof InvalidBaseUrl)) throw error;
    throw new InvalidRequest(error.message.replace(/^baseUrl/, "url"), { cause: error });
  }
}
