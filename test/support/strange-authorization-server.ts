import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A request to the token endpoint, as it came. */
export interface AskedForToken {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly form: URLSearchParams;
  readonly body: string;
  /** How many came before. */
  readonly nth: number;
}

/** How the token endpoint answers: as it is told, or by writing to the response itself. */
export type Behaviour = (asked: AskedForToken, response: ServerResponse) => unknown;

/** An authorization server that answers as strangely as the test wants. */
export interface StrangeAuthorizationServer extends AsyncDisposable {
  readonly url: string;
  readonly tokenUrl: string;
  readonly asked: readonly AskedForToken[];
  behave(next: Behaviour): void;
  /** From now on it refreshes and rotates: each refresh token is good once, and its second use ends the grant. */
  rotate(options?: {
    readonly expiresIn?: number;
    readonly answerAfterMs?: (nth: number) => number;
  }): RotatingGrant;
}

/** One grant, of which a refresh token is good once. */
export interface RotatingGrant {
  /** The refresh token that is good now. */
  readonly current: () => string;
  /** Until a spent refresh token was presented. */
  readonly isAlive: () => boolean;
  readonly refreshes: () => number;
  readonly reuses: () => number;
  isAccessTokenOf(token: string): boolean;
}

export async function startStrangeAuthorizationServer(): Promise<StrangeAuthorizationServer> {
  const asked: AskedForToken[] = [];
  let behaviour: Behaviour = () => ({ access_token: "at", token_type: "bearer" });
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { method = "", url = "/", headers } = request;
      const body = Buffer.concat(chunks).toString();
      const one = { method, path: url, headers, form: new URLSearchParams(body), body, nth: asked.length };
      asked.push(one);
      void Promise.resolve(behaviour(one, response)).then((body) => {
        if (body === undefined || response.headersSent) return;
        answerJson(response, 200, body);
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    tokenUrl: `${url}/token`,
    asked,
    behave: (next) => void (behaviour = next),
    rotate({ expiresIn = 3600, answerAfterMs = () => 0 } = {}) {
      let serial = 0;
      let isAlive = true;
      let reuses = 0;
      behaviour = async ({ form, nth }, response) => {
        const presented = form.get("refresh_token");
        const isGood = isAlive && presented === `rt-${serial}`;
        if (isGood) serial += 1;
        else {
          isAlive = false;
          reuses += 1;
        }
        const now = serial;
        await new Promise((resolve) => setTimeout(resolve, answerAfterMs(nth)));
        if (!isGood) return answerJson(response, 400, { error: "invalid_grant" });
        return {
          access_token: `at-${now}`,
          refresh_token: `rt-${now}`,
          token_type: "bearer",
          expires_in: expiresIn,
        };
      };
      return {
        current: () => `rt-${serial}`,
        isAlive: () => isAlive,
        refreshes: () => serial,
        reuses: () => reuses,
        isAccessTokenOf: (token) => /^at-\d+$/.test(token) && Number(token.slice(3)) <= serial,
      };
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Answers JSON with a status of one's own. */
export function answerJson(response: ServerResponse, status: number, body: unknown): undefined {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}
