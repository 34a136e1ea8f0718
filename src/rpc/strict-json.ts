import type { DescMessage, JsonReadOptions, JsonWriteOptions } from "@bufbuild/protobuf";
import { anyJsonIn } from "#src/json/kept-texts.ts";
import { messageFromJson, parseJsonAtOnce } from "#src/json/read.ts";
import { toConnectError } from "#src/pipeline/failures.ts";

/**
 * JSON options under which a request is refused in our own words.
 *
 * Unknown fields are faults: ignored, a misspelt `expiresAt` would make a key without end. And what Connect
 * says of a wrong value repeats the value, which may be a secret; looking at the text before Connect does, with
 * the message's contract at hand, keeps that from every answer and log.
 */
export function strictJson(input: DescMessage): Partial<JsonReadOptions & JsonWriteOptions> {
  const options = {
    ignoreUnknownFields: false,
    alwaysEmitImplicit: true,
    // Connect hands the message's bytes, inflated and limited, to this decoder and parses what it answers.
    textDecoder: {
      decode(bytes: Uint8Array): string {
        try {
          const json = parseJsonAtOnce(bytes, anyJsonIn(input).names);
          messageFromJson(input, json);
          // Not the text itself: Connect parses what it gets here with `JSON.parse`, which may take a name with an escape
          // for another one, and whose errors repeat the text, e.g. if it begins with a byte order mark.
          return JSON.stringify(json);
        } catch (error) {
          throw toConnectError(error);
        }
      },
    },
  };
  return options;
}
