import { afterAll, beforeAll, expect, test } from "vitest";
import { openConnection, type Connection } from "#src/db/connection.ts";
import { DatabaseError } from "#src/db/errors.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";

let database: TestDatabase;
let connection: Connection;
beforeAll(async () => {
  database = await createTestDatabase("empty");
  connection = openConnection(database.url, {});
  await connection.run("create table things (id integer primary key)");
});
afterAll(async () => {
  await connection.end();
  await database[Symbol.asyncDispose]();
});

async function* lines(...pieces: string[]): AsyncGenerator<Buffer> {
  for (const piece of pieces) yield Buffer.from(piece);
}
const copyIn = "copy things from stdin";

test("rows go in and come out, cut into pieces anywhere", async () => {
  expect(await connection.copyIn(copyIn, lines("1\n1", "2\n", "3\n"))).toBe(3);
  const pieces = await Array.fromAsync(
    connection.copyOut("copy (select id from things order by id) to stdout"),
  );
  expect(Buffer.concat(pieces).toString()).toBe("1\n3\n12\n");
});

test("rows that Postgres refuses once all were sent are an error, and the connection goes on", async () => {
  const refused = connection.copyIn(copyIn, lines("20\n", "20\n"));
  await expect(refused).rejects.toMatchObject({ code: "23505", constraint: "things_pkey" });
  await expect(refused).rejects.toBeInstanceOf(DatabaseError);
  expect(await connection.copyIn(copyIn, lines("21\n"))).toBe(1);
});

test("a copy that fails in the middle of its rows fails for its reader", async () => {
  const rows = connection.copyOut("copy (select 1 / (50000 - i) from generate_series(1, 60000) i) to stdout");
  await expect(Array.fromAsync(rows)).rejects.toMatchObject({ code: "22012" });
  expect(await connection.run("select 1 as one")).toMatchObject([{ one: 1 }]);
});

test("if what should be sent fails, nothing of it is stored and the connection is lost", async () => {
  await using own = openConnection(database.url, {});
  const broken = (async function* () {
    yield Buffer.from("30\n");
    throw new Error("the file is damaged");
  })();
  await expect(own.copyIn(copyIn, broken)).rejects.toThrow("the file is damaged");
  expect(own.lost).toBeDefined();
  expect(await connection.run("select from things where id = 30")).toHaveLength(0);
});
