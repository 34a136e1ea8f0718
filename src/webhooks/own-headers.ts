import { isHeaderName, isReservedHeader } from "#src/outbound/headers.ts";
import { InvalidRequest } from "#src/platform/errors.ts";

/** What says what a delivery is, and who sends it: a receiver takes these from us only. */
const ofDeliveries = /^(?:webhook-|x-qe-|ce-|content-)/;
/** Visible ASCII, with blanks between. */
const headerText = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;

/** Headers that deliveries are to carry, by lower-case name. Throws InvalidRequest for one that cannot be sent. */
export function ownHeaders(given: Readonly<Record<string, string>>): ReadonlyMap<string, string> {
  const headers = new Map<string, string>();
  for (const [name, value] of Object.entries(given)) {
    const lower = name.toLowerCase();
    // Not named: where name and value were swapped, it is the password.
    if (!isHeaderName(name))
      throw new InvalidRequest(
        "headers: a name is of letters, digits and hyphens; the value comes behind it",
      );
    if (isReservedHeader(name) || ofDeliveries.test(lower)) {
      throw new InvalidRequest(
        `headers.${name}: frames or signs the delivery, so it is set by Patchbay; leave it out`,
      );
    }
    if (headers.has(lower))
      throw new InvalidRequest(`headers.${name}: given twice, in different letter case`);
    if (!headerText.test(value)) {
      throw new InvalidRequest(
        `headers.${name}: give visible ASCII characters, with blanks only between them`,
      );
    }
    headers.set(lower, value);
  }
  return headers;
}
