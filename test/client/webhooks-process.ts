import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import postgres, { type TransactionSql } from "postgres";
import { EventSchema } from "#gen/patchbay/events/v1/event_pb.js";
import { parseAddress } from "#src/db/address.ts";
import type { PositionStore } from "#src/client/webhooks/positions.ts";
import { receiveWebhooks } from "#src/client/webhooks/receive.ts";

// Receives webhooks in a process that a test can kill, with its position in a database.
const [databaseUrl = "", logUrl = "", secret = ""] = process.argv.slice(2);
const { target, user = "", password = "", database = "" } = parseAddress(databaseUrl);
const sql = postgres({ ...target, user, password, database, max: 4 });

const positions: PositionStore<TransactionSql> = {
  async read(log) {
    const [row] = await sql<{ seq: string }[]>`select seq from positions where log = ${log}`;
    return row && Number(row.seq);
  },
  advance: (log, from, to, handOver) =>
    sql.begin(async (tx) => {
      const moved = await tx`
        insert into positions values (${log}, ${to})
        on conflict (log) do update set seq = excluded.seq where positions.seq = ${from ?? -1}`;
      if (moved.count === 0) return false;
      await handOver(tx);
      return true;
    }),
};

const receiver = receiveWebhooks({
  secrets: [secret],
  types: ["channel:chn_1/payment.made"],
  events: {
    // None of them is large.
    getEvent: async () => ({}),
    async listEvents({ after }) {
      const answer = await fetch(`${logUrl}?after=${after}`);
      const { events, position } = (await answer.json()) as { events: JsonValue[]; position: string };
      return { events: events.map((event) => fromJson(EventSchema, event)), position: BigInt(position) };
    },
  },
  positions,
  onEvent: async (event, tx) => {
    await tx`insert into handed_over (seq, data) values (${String(event.seq)}, ${Buffer.from(event.data ?? []).toString()})`;
  },
  onError: (error) => console.error(error),
});

const server = createServer((request, response) => void receiver.node(request, response));
server.listen(0, "127.0.0.1", () => console.log((server.address() as AddressInfo).port));
