import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  EventPlaces,
  EventPlacesSchema,
  SignatureScheme as SchemeMessage,
  SignatureSchemeSchema,
  WebhookSender,
  WebhookSenderSchema,
} from "#gen/patchbay/events/v1/channel_pb.js";
import { InvalidRequest } from "#src/platform/errors.ts";
import { present } from "#src/platform/present.ts";
import type { Place, Preset } from "./preset.ts";
import { schemeProblem } from "./signatures/scheme-problem.ts";
import type { Proof, SignatureScheme } from "./signatures/scheme.ts";

/** What a channel itself says of its sender, in place of what the preset `generic` does. */
export type OwnSender = Partial<Pick<Preset, "scheme" | "id" | "type" | "subject" | "time">>;

/** What the caller says of a sender that no preset knows. */
export function ownSenderFrom({ preset, scheme, event }: WebhookSender): OwnSender | undefined {
  if (scheme === undefined && event === undefined) return undefined;
  if (preset !== "" && preset !== "generic")
    throw new InvalidRequest(
      `webhook: the preset ${preset} says how its sender signs and describes events; leave out scheme and event`,
    );
  return { ...(scheme && { scheme: schemeFrom(scheme) }), ...(event && placesFrom(event)) };
}

function schemeFrom(given: SchemeMessage): SignatureScheme {
  const { header, prefix, separator, algorithm, encoding, secretForm, signed, idHeader, toleranceSeconds } =
    given;
  const scheme: SignatureScheme = present({
    kind: "signature" as const,
    name: "generic",
    header,
    separator: separator === "" ? undefined : (separator as " " | ","),
    encoding: orElse(encoding, "hex") as SignatureScheme["encoding"],
    proofs: [
      present({
        algorithm: orElse(algorithm, "hmac-sha256") as Proof["algorithm"],
        prefix: prefix === "" ? undefined : prefix,
        secret: orElse(secretForm, "text") as Proof["secret"],
      }),
    ],
    signed: [orElse(signed, "{body}")],
    idHeader: idHeader === "" ? undefined : idHeader,
    time: timeFrom(given),
    toleranceSeconds: toleranceSeconds === 0 ? undefined : toleranceSeconds,
  });
  const problem = schemeProblem(scheme);
  if (problem !== undefined) throw new InvalidRequest(`webhook.scheme: ${problem}`);
  return scheme;
}

function timeFrom({ timeHeader, timePrefix, timeUnit }: SchemeMessage): SignatureScheme["time"] {
  if (timeHeader === "") return undefined;
  const prefix = timePrefix === "" ? undefined : timePrefix;
  return present({ header: timeHeader, prefix, unit: orElse(timeUnit, "s") as "s" | "ms" });
}

function placesFrom({ id, type, subject, time }: EventPlaces): Omit<OwnSender, "scheme"> {
  return present({
    id: placeFrom(id),
    type: type === "" ? undefined : [placeFrom(type)].filter((place) => place !== undefined),
    subject: placeFrom(subject),
    time: placeFrom(time),
  });
}

function placeFrom(text: string): Place | undefined {
  if (text === "") return undefined;
  return text.startsWith("/") ? { pointer: text } : { header: text };
}

function orElse(text: string, usual: string): string {
  return text === "" ? usual : text;
}

/** What the caller said, as callers see it. */
export function ownSenderMessage({
  scheme,
  ...places
}: OwnSender): MessageInitShape<typeof WebhookSenderSchema> {
  const isPlaced = Object.keys(places).length > 0;
  return present({
    scheme: scheme?.kind === "signature" ? schemeMessage(scheme) : undefined,
    event: isPlaced ? placesMessage(places) : undefined,
  });
}

function schemeMessage(scheme: SignatureScheme): MessageInitShape<typeof SignatureSchemeSchema> {
  const { header, separator, encoding, proofs, signed, idHeader, time, toleranceSeconds } = scheme;
  return present({
    ...{ header, separator, encoding, idHeader, toleranceSeconds, signed: signed[0] },
    ...{ prefix: proofs[0]?.prefix, algorithm: proofs[0]?.algorithm, secretForm: proofs[0]?.secret },
    ...{ timeHeader: time?.header, timePrefix: time?.prefix, timeUnit: time?.unit },
  });
}

function placesMessage({ id, type, subject, time }: OwnSender): MessageInitShape<typeof EventPlacesSchema> {
  return present({
    id: placeMessage(id),
    type: placeMessage(type?.[0]),
    subject: placeMessage(subject),
    time: placeMessage(time),
  });
}

function placeMessage(place: Place | undefined): string | undefined {
  if (place === undefined || "formField" in place) return undefined;
  return "header" in place ? place.header : place.pointer;
}
