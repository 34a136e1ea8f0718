import { Agent, request } from "undici";
import { startBenchPostgres } from "./patchbay.ts";

const rounds = 2_000;
const warmUps = 500;

/** How long ValidateInput takes, first and then, beside the least that any call takes. */
export async function run(): Promise<object> {
  await using postgres = await startBenchPostgres();
  const { apiKey, start } = await postgres.found("validate_input");
  await using patchbay = await start();
  const origin = `http://127.0.0.1:${patchbay.port}`;
  const headers = { authorization: `Bearer ${apiKey}`, "content-type": "application/json" };
  const dispatcher = new Agent();

  async function ask(method: "GET" | "POST", path: string, body?: object): Promise<number> {
    const began = performance.now();
    const answer = await request(origin + path, {
      ...{ method, headers, dispatcher },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await answer.body.text();
    if (answer.statusCode >= 300) throw new Error(`${path}: ${answer.statusCode} ${text}`);
    return performance.now() - began;
  }

  async function median(work: () => Promise<number>): Promise<number> {
    const times: number[] = [];
    for (let i = 0; i < warmUps + rounds; i++) times.push(await work());
    const sorted = times.slice(warmUps).sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)] ?? 0;
  }

  await ask("POST", "/api/service-connections", {
    ...{ serviceSlug: "aml", baseUrl: "https://aml.example", apiKey: "k" },
  });
  const wanted = { actionIdentifier: "aml/submitSarFiling", input: { path: { id: 7 } } };
  const validate = () => ask("POST", "/api/actions/validate", wanted);
  const first = await validate();
  const floor = await median(() => ask("GET", "/api/auth/me"));
  const warm = await median(validate);
  const milliseconds = (figure: number) => `${figure.toFixed(2)} ms`;
  return {
    "GET /api/auth/me": milliseconds(floor),
    "ValidateInput, the first": milliseconds(first),
    "ValidateInput, warm": milliseconds(warm),
    times: (warm / floor).toFixed(1),
  };
}
