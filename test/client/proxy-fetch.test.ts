import { Octokit } from "@octokit/core";
import OpenAI from "openai";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { PatchbayClient } from "#src/client/node.ts";
import { apiKey, slug, startProxied, until } from "../calls/proxy/support.ts";

let running: Awaited<ReturnType<typeof startProxied>>;
let patchbay: PatchbayClient;
beforeAll(async () => {
  running = await startProxied();
  patchbay = running.service.org.client;
});
afterAll(() => running[Symbol.asyncDispose]());
beforeEach(() => {
  running.upstream.serve((_request, response) => {
    response.writeHead(200, { "content-type": "application/json" }).end('{"id":1}');
  });
});

const lastAsked = () => running.upstream.asked.at(-1)!;

describe("openai", () => {
  const openai = () =>
    new OpenAI({
      apiKey: "no-key-of-theirs",
      baseURL: patchbay.baseUrl(slug),
      fetch: patchbay.fetch(slug),
      maxRetries: 0,
    });
  const question = { model: "gpt-5", messages: [{ role: "user" as const, content: "Hello" }] };

  test("completes a chat with the connection's key, and without one of its own", async () => {
    const answer = { id: "1", choices: [{ message: { role: "assistant", content: "Hi" } }] };
    let sent = "";
    running.upstream.serve((request, response) => {
      request.on("data", (piece: Buffer) => (sent += piece.toString()));
      request.on("end", () => {
        response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
      });
    });
    const reply = await openai().chat.completions.create(question);
    expect(reply.choices[0]?.message.content).toBe("Hi");
    expect([lastAsked().method, lastAsked().url]).toEqual(["POST", "/base/chat/completions"]);
    expect(lastAsked().headers.authorization).toBe(`Bearer ${apiKey}`);
    expect(JSON.parse(sent)).toMatchObject(question);
  });

  test("streams a completion: each piece is read before the next one is sent", async () => {
    const chunk = (content: string) =>
      `data: ${JSON.stringify({ id: "1", choices: [{ index: 0, delta: { content } }] })}\n\n`;
    const words = ["one", "two", "three"];
    const read: string[] = [];
    running.upstream.serve((_request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      const send = async () => {
        for (const [index, word] of words.entries()) {
          await until(() => read.length === index);
          response.write(chunk(word));
        }
        response.end("data: [DONE]\n\n");
      };
      void send();
    });
    const stream = await openai().chat.completions.create({ ...question, stream: true });
    for await (const { choices } of stream) read.push(choices[0]?.delta.content ?? "");
    expect(read).toEqual(words);
  });

  test("sees a service's own refusal as such", async () => {
    running.upstream.serve((_request, response) => {
      response.writeHead(401, { "content-type": "application/json" });
      response.end('{"error":{"message":"bad key","type":"invalid_request_error"}}');
    });
    const refused = openai().chat.completions.create(question);
    await expect(refused).rejects.toMatchObject({ status: 401, type: "invalid_request_error" });
  });
});

describe("@octokit/core", () => {
  test.each([
    ["with the proxy as its base URL", () => patchbay.baseUrl(slug)],
    ["with the base URL that it has by itself", () => "https://api.github.com"],
  ])("asks for an issue %s", async (_, baseUrl) => {
    const octokit = new Octokit({ baseUrl: baseUrl(), request: { fetch: patchbay.fetch(slug) } });
    const asked = octokit.request("GET /repos/{owner}/{repo}/issues/{number}", { owner: "a", repo: "b", number: 1 }); // prettier-ignore
    expect((await asked).data).toEqual({ id: 1 });
    expect(lastAsked().url).toBe("/base/repos/a/b/issues/1");
    expect(lastAsked().headers.authorization).toBe(`Bearer ${apiKey}`);
  });
});

describe("any URL is below the connection's base URL:", () => {
  test.each([
    ["/a?b=1", "/base/a?b=1"],
    ["a", "/base/a"],
    ["?b=1", "/base?b=1"],
    ["https://api.example/v1/a?b=1#c", "/base/v1/a?b=1"],
    ["https://api.example", "/base"],
    ["https://api.example/v1/../../../../../api-keys", "/base/api-keys"],
    ["/%2e%2e/%2E./api-keys?b=..", "/base/api-keys?b=.."],
    ["..\\..\\..\\api-keys", "/base/api-keys"],
    ["\t/..\n/./../api-keys", "/base/api-keys"],
  ])("%s", async (url, asked) => {
    expect((await patchbay.fetch(slug)(url)).status).toBe(200);
    expect(lastAsked().url).toBe(asked);
  });

  test("one behind the proxy's own URL does not lead to Patchbay's API", async () => {
    const url = `${patchbay.baseUrl(slug)}/files/../../../../api-keys`;
    expect((await patchbay.fetch(slug)(url)).status).toBe(200);
    expect(lastAsked().url).toBe("/base/api-keys");
  });

  test("a Request with a streamed body, and what is said beside it", async () => {
    running.upstream.serve((request, response) => void request.pipe(response));
    const body = new Blob(["streamed"]).stream();
    const request = new Request("https://api.example/a", { method: "POST", body, duplex: "half" });
    const reply = await patchbay.fetch(slug)(request, { headers: { "x-more": "1" } });
    expect(await reply.text()).toBe("streamed");
    expect(lastAsked().headers).toMatchObject({ "x-more": "1", authorization: `Bearer ${apiKey}` });
  });
});

test("a redirect is answered, and the key is not taken there", async () => {
  running.upstream.serve((_request, response) => response.writeHead(302, { location: "/elsewhere" }).end());
  const reply = await patchbay.fetch(slug)("/a");
  expect([reply.status, reply.headers.get("location")]).toEqual([302, "/elsewhere"]);
});

test("what fails in Patchbay is an answer that says so", async () => {
  const reply = await patchbay.fetch("custom:nothing")("/a");
  expect([reply.status, reply.headers.get("x-patchbay-source")]).toEqual([404, "patchbay"]);
});

test("an aborted fetch ends the call to the service", async () => {
  running.upstream.serve((_request, response) => void response.writeHead(200).write("begun"));
  const leaving = new AbortController();
  const reply = await patchbay.fetch(slug)("/a", { signal: leaving.signal });
  leaving.abort();
  await until(() => lastAsked().destroyed);
  await expect(reply.text()).rejects.toThrow("aborted");
});
