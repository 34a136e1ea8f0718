import type { Scheme } from "./signatures/scheme.ts";

/** What is known of a vendor's webhooks. */
export interface Preset {
  /** What a channel names it by. */
  readonly name: string;
  readonly title: string;
  readonly scheme: Scheme;
  /** What the secret is, in words for whoever makes the channel. */
  readonly secret: string;
  /** Whether the vendor makes the secret, so that a channel needs it given. */
  readonly secretIsTheirs: boolean;
  /** The `source` of its events, a URI reference. */
  readonly source: string;
  /** Where the id of an event is. Absent: it has none. */
  readonly id?: Place;
  /** Where the type of an event is: the first place that has one. */
  readonly type: readonly Place[];
  /** The type of an event in which no place has one. */
  readonly defaultType: string;
  readonly subject?: Place;
  readonly time?: Place & { readonly unit?: "s" | "ms" };
  readonly handshake?: Handshake;
  /** JSON Pointers, whose `*` stands for each item of a list, of secrets in the body. */
  readonly masked: readonly string[];
  /** The names of headers that are stored, beside those stored of all. */
  readonly headers: readonly string[];
  readonly reply: Reply;
  /** What to know of it, in words for whoever makes the channel. */
  readonly notes: string;
}

/** Where in a request something is. JSON Pointers of presets have no `*` here. */
export type Place =
  { readonly header: string } | { readonly pointer: string } | { readonly formField: string };

/** How a vendor makes sure that an address wants its events. */
export type Handshake =
  | "slack-url-verification"
  | "graph-validation-token"
  | "meta-challenge"
  | "zoom-url-validation"
  | "event-grid-validation"
  | "x-crc"
  | "okta-challenge"
  | "discord-ping";

/** The answer to what was stored. */
export interface Reply {
  readonly status: 200 | 202 | 204;
  /** Absent: the number of the event, in JSON. */
  readonly body?: { readonly contentType: string; readonly text: string };
}

/** Whether nobody but the holder of the secret can give an event this preset's id. */
export function signsId({ id, scheme }: Preset): boolean {
  if (id === undefined || scheme.kind !== "signature") return false;
  return "header" in id ? id.header === scheme.idHeader : true;
}
