import type { ServerResponse } from "node:http";
import { InvalidRequest } from "#src/platform/errors.ts";
import { targetOf } from "#src/platform/http.ts";
import type { RawRoute } from "#src/platform/raw-route.ts";
import type { FindEvent } from "./event-service.ts";

const shape = /^\/api\/events\/([A-Za-z0-9_-]{1,64})\/(\d{1,15})\/body$/;

/** Answers an event's data byte for byte as it came. */
export function createEventBody({ findEvent }: { findEvent: FindEvent }): RawRoute {
  return {
    name: "EventBody",
    scope: "events:view",
    hasForeignQuery: false,
    headers: {},
    matches: (path) => shape.test(path),

    async serve({ request, response, head, caller, call }) {
      const { path } = targetOf(request);
      if (request.method !== "GET") throw new InvalidRequest(`${path} takes GET only`);
      const [, log = "", seq = ""] = shape.exec(path) ?? [];
      const { data = Buffer.of(), contentType } = await findEvent(caller, log, Number(seq));
      call.holding?.become(data.length);
      call.holding?.waitForReader(() => response.destroy());
      // Both modules' responses take these calls; only their types cannot be called as one.
      const out = response as ServerResponse;
      out.writeHead(data.length === 0 ? 204 : 200, {
        ...head,
        // What a stranger sent must not act as a page of this origin.
        "content-security-policy": "sandbox",
        "content-disposition": "attachment",
        ...(data.length > 0 && {
          "content-type": headerSafe(contentType) ?? "application/octet-stream",
          "content-length": data.length,
        }),
      });
      out.end(data);
    },
  };
}

/** A type that a header can carry. */
function headerSafe(type: string | undefined): string | undefined {
  return type !== undefined && /^[\x20-\x7e]+$/.test(type) ? type : undefined;
}
