import { InvalidEvent } from "./errors.ts";

/** How long what describes an event may be. It is stored for each event, and stands in headers of webhooks. */
export const longestAttribute = 1024;

/** Control characters and halves of surrogate pairs, which no attribute may have (CloudEvents 1.0, type String). */
const unfit = /\p{Cc}/u;

/** Whether the text can be an attribute of an event. */
export function isAttribute(text: string): boolean {
  return text.length > 0 && !unfit.test(text) && text.isWellFormed();
}

/** The text as an attribute of an event, of which `name` is what its sender calls it. Throws InvalidEvent. */
export function attributeFrom(name: string, text: string, place = ""): string {
  if (text.length > longestAttribute)
    throw new InvalidEvent(`${name}: has ${text.length} characters; ${longestAttribute} is the most`, place);
  if (!isAttribute(text))
    throw new InvalidEvent(
      `${name}: must not be empty, nor have control characters or broken Unicode`,
      place,
    );
  return text;
}

const rfc3339 =
  /^(\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]))[Tt](?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d{1,12})?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

/** Whether the text is a time as RFC 3339 writes it, of a day that exists. */
export function isTime(text: string): boolean {
  const day = rfc3339.exec(text)?.[1];
  return day !== undefined && new Date(`${day}T00:00:00Z`).toISOString().startsWith(day);
}
