import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  SignatureScheme as Message,
  SignatureSchemeSchema,
} from "#gen/patchbay/events/v1/channel_pb.js";
import { InvalidRequest } from "#src/platform/errors.ts";
import { present } from "#src/platform/present.ts";
import { schemeProblem } from "./signatures/scheme-problem.ts";
import type { Proof, SignatureScheme, SignedTime } from "./signatures/scheme.ts";

/** How a channel's sender signs, as whoever makes the channel says it. */
export function ownSchemeFrom(given: Message): SignatureScheme {
  const { header, prefix, separator, encoding, signed, idHeader, toleranceSeconds } = given;
  const algorithm = (given.algorithm || "hmac-sha256") as Proof["algorithm"];
  const secret = (given.secretForm || (algorithm === "ed25519" ? "hex-key" : "text")) as Proof["secret"];
  const scheme: SignatureScheme = present({
    kind: "signature" as const,
    name: "generic",
    header: header.toLowerCase(),
    separator: separator === "" ? undefined : (separator as " " | ","),
    encoding: (encoding || "hex") as SignatureScheme["encoding"],
    proofs: [present({ algorithm, secret, prefix: prefix || undefined })],
    signed: [signed || "{body}"],
    idHeader: idHeader === "" ? undefined : idHeader.toLowerCase(),
    time: timeFrom(given),
    toleranceSeconds: toleranceSeconds === 0 ? undefined : toleranceSeconds,
  });
  const problem = schemeProblem(scheme);
  if (problem !== undefined) throw new InvalidRequest(`webhook.signature: ${problem}`);
  return scheme;
}

function timeFrom({ timeHeader, timePrefix, timeUnit }: Message): SignedTime | undefined {
  if (timeHeader === "") return undefined;
  const unit = (timeUnit || "s") as SignedTime["unit"];
  return present({ header: timeHeader.toLowerCase(), prefix: timePrefix || undefined, unit });
}

/** The same as callers see it. */
export function ownSchemeToMessage(scheme: SignatureScheme): MessageInitShape<typeof SignatureSchemeSchema> {
  const { header, separator = "", encoding, idHeader = "", time, toleranceSeconds = 0 } = scheme;
  const [proof] = scheme.proofs;
  return {
    ...{ header, separator, encoding, idHeader, toleranceSeconds, signed: scheme.signed[0] ?? "" },
    ...(proof && { algorithm: proof.algorithm, secretForm: proof.secret, prefix: proof.prefix ?? "" }),
    ...(time && { timeHeader: time.header, timePrefix: time.prefix ?? "", timeUnit: time.unit }),
  };
}
