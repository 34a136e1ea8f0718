import { test } from "vitest";
import { services } from "#src/client/services.ts";
import { callHttp2, frame } from "./calls.ts";
import { startTwoWays } from "./two-ways.ts";
const { getUser } = services.directory.method;
const mebibyte = 1024 * 1024;
test("x", async () => {
  await using ways = await startTwoWays();
  for (const [name, side] of [["connect", ways.sides[0]], ["lane", ways.sides[1]]] as const) {
    for (const [what, extra] of [["garbage", { steps: [Buffer.alloc(4 * mebibyte + 1, 7), "end" as const] }], ["framed", { steps: [frame(Buffer.alloc(4*mebibyte+1,7)), "end" as const] }], ["authority", { headers: { ":authority": "a b" } }]] as const) {
      const before = side.service.logged().length; const t = Date.now();
      const seen = await callHttp2(side, `id-${what}`, { method: getUser, secret: side.keys.admin, untilAnswered: false, ...extra });
      await new Promise(r => setTimeout(r, 300));
      console.log(name, what, Date.now() - t, JSON.stringify(seen), side.service.logged().slice(before).split("\n").filter(l => !l.includes("probe")).join("\n"));
    }
  }
}, 300_000);
