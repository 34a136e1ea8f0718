import { randomUUID } from "node:crypto";
import { expect } from "vitest";

/** A client as callers should have one: it asks replicas in turn, and repeats what may be repeated. */
export interface RetryingClient {
  /** What was answered in the end; fails if it was not one of the statuses that the caller expects. */
  ask(method: string, path: string, expected: number, body?: unknown): Promise<unknown>;
  /** How many tries had no answer, or one that asks to come again. */
  retries(): number;
}

interface Reply {
  /** 0 if there was no answer. */
  readonly status: number;
  readonly body: unknown;
}

/** More than can fail for one call: a replica that stops refuses the connection at once, and the other one serves. */
const mostTries = 10;

/** Repeats a call at the next replica under the same Idempotency-Key if it had no answer, or 503. */
export function createRetryingClient(urls: readonly string[], secret: string): RetryingClient {
  let turn = 0;
  let retries = 0;

  async function tryOnce(method: string, path: string, key: string, body: unknown): Promise<Reply> {
    const url = urls[turn++ % urls.length] ?? "";
    const response = await fetch(url + path, {
      method,
      headers: {
        authorization: `Bearer ${secret}`,
        "content-type": "application/json",
        ...(method !== "GET" && { "idempotency-key": key }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: await response.json() };
  }

  return {
    async ask(method, path, expected, body) {
      const key = randomUUID();
      for (let tries = 1; ; tries++) {
        const reply = await tryOnce(method, path, key, body).catch((error: unknown): Reply => ({
          status: 0,
          body: error,
        }));
        if (reply.status === 0 || reply.status === 503) {
          retries++;
          if (tries < mostTries) continue;
        }
        expect(reply, `${method} ${path}`).toMatchObject({ status: expected });
        return reply.body;
      }
    },
    retries: () => retries,
  };
}

/** Clients that read, write and call through without a break, until they are told to end. */
export function startSteadyLoad(client: RetryingClient, connection: string) {
  const created: string[] = [];
  let isOver = false;
  const calls = { service: connection, method: "GET", path: "/" };

  async function caller(number: number): Promise<void> {
    for (let i = 0; !isOver; i++) {
      const name = `caller-${number}-${i}`;
      await client.ask("POST", "/api/api-keys", 201, { name, scopes: ["a:view"] });
      created.push(name);
      await client.ask("GET", "/api/auth/me", 200);
      await client.ask("POST", "/api/service-calls", 200, calls);
    }
  }

  const callers = Promise.all(Array.from({ length: 6 }, (_, number) => caller(number)));
  // It is awaited at the end; a call that fails meanwhile must not end the process of the test.
  callers.catch(() => undefined);
  return {
    /** The names of the keys that were answered for. */
    created,
    async end() {
      isOver = true;
      await callers;
    },
  };
}
