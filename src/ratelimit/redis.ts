import { createClient, defineScript, type CommandParser } from "@redis/client";
import type { Secret } from "#src/platform/secret.ts";
import { answeredWithin } from "./answered-within.ts";
import { budgetOf, type Budget, type Debt, type RateLimit } from "./gcra.ts";
import type { SharedCounts } from "./shared-limiter.ts";

/**
 * `spend` of gcra.ts, where nothing can come between reading and writing. The time is the server's, so that
 * the clocks of replicas do not matter. Lua's numbers are doubles like ours, and every product here is below 2^53; but
 * it would print large ones rounded, hence the format.
 *
 * A name that was silent for a window is forgotten: by then everything is forgiven that was spent under its limit.
 */
export const countScript = defineScript({
  NUMBER_OF_KEYS: 1,
  SCRIPT: `
    local limit, window, made = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
    local capacity = limit * window
    local time = redis.call("TIME")
    local now = time[1] * 1000 + math.floor(time[2] / 1000)

    local units = 0
    local stored = redis.pcall("GET", KEYS[1])
    if type(stored) == "string" then
      local at, owed = string.match(stored, "^(%d+) (%d+)$")
      if at then units = math.max(0, tonumber(owed) - math.max(0, now - tonumber(at)) * limit) end
    end

    units = math.max(units, math.min(units + math.min(made, limit) * window, 2 * capacity))
    local allowed = units + window <= capacity
    if allowed then units = units + window end
    local life = math.max(window, math.ceil(units / limit))
    redis.call("SET", KEYS[1], string.format("%.0f %.0f", now, units), "PX", string.format("%.0f", life))
    return { allowed and 1 or 0, now, units }`,
  parseCommand(parser: CommandParser, key: string, rate: RateLimit, made = 0) {
    parser.pushKey(key);
    parser.push(String(rate.limit), String(rate.windowMs), String(made));
  },
  transformReply(reply: unknown): { readonly allowed: boolean; readonly debt: Debt } {
    if (!Array.isArray(reply) || reply.length !== 3 || !reply.every(isCount)) {
      throw new Error("the answer is not that of the script");
    }
    const [allowed, at, units] = reply as [number, number, number];
    return { allowed: allowed === 1, debt: { at, units } };
  },
});

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/** No call may wait longer than this for an answer; usually it takes a millisecond. */
const answerMs = 100;
const connectMs = 500;

/** Counts in a Redis or Valkey server, under names that begin with the prefix. */
export async function connectRedis(
  { url, prefix }: { url: Secret; prefix: string },
  lost: (why: Error) => void,
): Promise<SharedCounts> {
  const client = createClient({
    url: url.reveal().toString(),
    scripts: { count: countScript },
    // Calls fail at once while the server is away; when to connect again is decided elsewhere.
    disableOfflineQueue: true,
    socket: { connectTimeout: connectMs, reconnectStrategy: false },
    RESP: 2,
    // Only the script is ever called, so the server has to permit nothing else.
    disableClientInfo: true,
    maintNotifications: "disabled",
  });
  let isOpen = false;

  function fail(why: Error): void {
    client.destroy();
    if (isOpen) lost(why);
    isOpen = false;
  }

  async function spend(name: string, rate: RateLimit, alreadyMade?: number): Promise<Budget> {
    try {
      const asking = client.count(prefix + name, rate, alreadyMade);
      const { allowed, debt } = await answeredWithin(answerMs, asking);
      return budgetOf(rate, debt.units, allowed);
    } catch (error) {
      // Whatever the error: a server that does not answer in time, or not as the script does, is not asked again.
      fail(error as Error);
      throw error;
    }
  }

  client.on("error", fail);
  try {
    // The client's own limit is for the socket; a server may accept it and then say nothing.
    await answeredWithin(2 * connectMs, client.connect());
  } catch (error) {
    fail(error as Error);
    throw error;
  }
  // The server has to answer, to write and to know the script before it may hold up a request.
  await spend("check", { limit: 1, windowMs: 1_000 });
  isOpen = true;

  return {
    spend,
    close() {
      isOpen = false;
      client.destroy();
    },
  };
}
