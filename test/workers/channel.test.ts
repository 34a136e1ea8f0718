import { expect, test } from "vitest";
import { createChannel } from "#src/workers/channel.ts";

test("a side that does not read is told what it must know, and is mentioned nothing more until it reads", async () => {
  const unread: (() => void)[] = [];
  const sent: string[] = [];
  const channel = createChannel<string>((message, done) => {
    sent.push(message);
    unread.push(done);
  });
  for (let i = 0; i < 1_000; i++) channel.mention("news");
  expect(sent).toHaveLength(64);
  const told = channel.tell("stop");
  expect(sent.at(-1)).toBe("stop");
  for (const done of unread) done();
  await told;
  channel.mention("more news");
  expect(sent.at(-1)).toBe("more news");
});
