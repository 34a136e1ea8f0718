import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { compressionFor, varyByEncoding, type Compression } from "#src/pipeline/compression.ts";
import { send, type Answer } from "#src/pipeline/lane.ts";
import type { Pipeline } from "#src/pipeline/pipeline.ts";
import { callOfRequest } from "#src/pipeline/request-call.ts";
import { matchesTag, weakTag } from "#src/platform/etag.ts";
import type { PageAnswer } from "#src/platform/page.ts";
import { onceFor } from "#src/platform/once-for.ts";
import type { Feature } from "#src/platform/served-service.ts";
import type { Handler, Request, Response } from "#src/platform/http.ts";
import { failureAnswer, jsonAnswer } from "./codec.ts";
import { MethodNotAllowed } from "./errors.ts";
import { readPageRequest } from "./page-request.ts";

/** Whether the service takes calls. */
interface Readiness {
  /** Why it takes none; undefined if it does. */
  readonly problem: string | undefined;
}

/** What is served beside the methods: what load balancers ask, and the description of the REST paths. */
export function createPages(
  readiness: Readiness,
  { publicCalls, failureOf }: Pick<Pipeline, "publicCalls" | "failureOf">,
  features: readonly Pick<Feature, "pages">[] = [],
): ReadonlyMap<string, Handler> {
  const openApi = readFileSync(new URL("../../gen/openapi.json", import.meta.url));
  const compressedOpenApi = onceFor((compression: Compression) => compression.compress(openApi));
  // It is the same for everybody, until the next release.
  const headers = {
    "cache-control": "public, max-age=300",
    etag: weakTag(createHash("sha256").update(openApi).digest("base64url")),
  };
  const page = pagesWith(failureOf);
  return new Map([
    // These two have no limit: a load balancer that is refused takes the service for dead.
    // Alive: the process answers. Whether it should be sent calls is the other question.
    ["/healthz", page(() => jsonAnswer(200, {}, [Buffer.from('{"status":"ok"}')]))],
    [
      "/readyz",
      page(() =>
        readiness.problem === undefined
          ? jsonAnswer(200, {}, [Buffer.from('{"status":"ready"}')])
          : jsonAnswer(503, {}, [Buffer.from(`{"error":"not ready: ${readiness.problem}"}`)]),
      ),
    ],
    [
      "/openapi.json",
      page(async (request, response) => {
        varyByEncoding(response);
        await publicCalls.spend(callOfRequest(request).remoteAddress);
        if (matchesTag(request.headers["if-none-match"], headers.etag)) return { status: 304, headers };
        const compression = compressionFor(request.headers["accept-encoding"]);
        if (compression === undefined) return jsonAnswer(200, headers, [openApi]);
        const json = await compressedOpenApi(compression);
        return jsonAnswer(200, { ...headers, "content-encoding": compression.name }, [json]);
      }),
    ],
    ...features
      .flatMap(({ pages = [] }) => [...pages])
      .map(([path, ours]): [string, Handler] => [
        path,
        page(
          async (request) => {
            await publicCalls.spend(callOfRequest(request).remoteAddress);
            return answerOf(await ours.answer(await readPageRequest(request)));
          },
          // Without HEAD: whatever only looks at a link must not use up what is good once.
          ours.methods,
        ),
      ]),
  ]);
}

function answerOf({ status, headers, body }: PageAnswer): Answer {
  const bytes = Buffer.from(body);
  return { status, headers: { ...headers, "content-length": bytes.length }, body: [bytes] };
}

function pagesWith(failureOf: Pipeline["failureOf"]) {
  return (
    content: (request: Request, response: Response) => Answer | Promise<Answer>,
    methods: readonly string[] = ["GET", "HEAD"],
  ): Handler => {
    const answer = async (request: Request, response: Response) => {
      try {
        if (!methods.includes(request.method ?? "")) throw new MethodNotAllowed(methods.join(", "));
        send(request, response, await content(request, response));
      } catch (thrown) {
        send(request, response, failureAnswer(failureOf(thrown, request), {}));
      }
    };
    return (request, response) => void answer(request, response);
  };
}
