import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

/** Documents of real services, as they publish them. */
export const realDocuments = {
  adyen: "adyen-management-v3-3.1.json",
  box: "box-3.0.json",
  plaid: "plaid-3.0.yaml",
  ticTacToe: "tictactoe-3.1.yaml",
  twilio: "twilio-api-v2010-3.0.json",
};

/** Reads one of them. */
export function readDocumentFile(name: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(gunzipSync(readFileSync(new URL(`documents/${name}.gz`, import.meta.url))));
}

/** GitHub's, which has 1,223 operations. */
export function readGitHub(): Uint8Array<ArrayBuffer> {
  const url = new URL("../../node_modules/@octokit/openapi/generated/api.github.com.json", import.meta.url);
  return new Uint8Array(readFileSync(url));
}
