import type { DescMessage, Message } from "@bufbuild/protobuf";
import { anyJsonIn } from "#src/json/kept-texts.ts";
import { messageFromJson, parseJson } from "#src/json/read.ts";
import { jsonPiecesOf } from "#src/json/write.ts";
import type { CallLimits } from "#src/pipeline/call-limits.ts";
import type { Pieced } from "#src/platform/bytes.ts";
import { binaryOf } from "./binary-answer.ts";
import { messageFromBinary } from "./binary-request.ts";

/** What a message is written in, by the name that it has in content types; long ones with turns for other calls. */
export interface MessageFormat {
  readonly name: "json" | "proto";
  /** How many bytes a message may have in it. */
  readonly limitOf: (limits: CallLimits) => number;
  readonly read: (desc: DescMessage, bytes: Uint8Array) => Promise<Message>;
  readonly write: (desc: DescMessage, message: Message) => Promise<Pieced>;
}

/** Messages as JSON. */
export const json: MessageFormat = {
  name: "json",
  limitOf: ({ jsonBytes }) => jsonBytes,
  read: async (desc, bytes) => messageFromJson(desc, await parseJson(bytes, anyJsonIn(desc).names)),
  write: jsonPiecesOf,
};

/** Messages in binary. */
export const proto: MessageFormat = {
  name: "proto",
  limitOf: ({ messageBytes }) => messageBytes,
  read: messageFromBinary,
  write: async (desc, message) => binaryOf(desc, message),
};
