import { pino } from "pino";
import { openConnection } from "#src/db/connection.ts";
import { startEmbeddedPostgres } from "#src/db/embedded/supervisor.ts";

// A service of the embedded tests: writes rows for ever, and tells each on its standard output once Postgres
// has acknowledged it. Started as `node embedded-service.ts <data folder> <first number>`.

const [, , dataDir = "", first = "0"] = process.argv;
const log = pino({ level: "silent" });

const postgres = await startEmbeddedPostgres({ dataDir, log }).catch((error: Error) => {
  console.log(`refused ${error.message}`);
  process.exit(3);
});
process.on("SIGTERM", () => {
  void postgres.stop().then(() => process.exit(0));
});

let connection = openConnection(postgres.url, {});
await connection.run("create table if not exists acknowledged (n integer primary key)");
console.log(`ready ${postgres.url}`);

for (let n = Number(first); ; n++) {
  if (connection.lost !== undefined) connection = openConnection(postgres.url, {});
  const written = await connection.run("insert into acknowledged values ($1)", [n]).catch(() => undefined);
  if (written === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
  else console.log(`ack ${n}`);
}
