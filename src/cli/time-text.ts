import { timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";

/** When something was, for a person; `never` if it was not. */
export function timeText(time: Timestamp | undefined): string {
  return time === undefined ? "never" : timestampDate(time).toISOString();
}
