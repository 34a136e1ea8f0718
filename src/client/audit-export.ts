import { type ApiKey, authorizationOf } from "./authorization.ts";

/** Which part of the audit record, and how. What is absent does not narrow. */
export interface AuditExportOptions {
  /** `ndjson`, which is the default and can be verified, or `csv`. */
  readonly format?: string | undefined;
  /** Only events behind this number. */
  readonly after?: string | undefined;
  /** Times of RFC 3339. */
  readonly since?: string | undefined;
  readonly until?: string | undefined;
}

/** Exports of the audit record. */
export interface AuditExporter {
  /**
   * The record as a file, as it comes: of any length. Throws what Patchbay refuses; a stream that fails later was cut,
   * and is not the record.
   */
  exportAudit(options?: AuditExportOptions): Promise<ReadableStream<Uint8Array>>;
}

export function auditExporterOf({ baseUrl, apiKey }: { baseUrl: string; apiKey: ApiKey }): AuditExporter {
  return {
    async exportAudit({ format, after, since, until } = {}) {
      const url = new URL(`${baseUrl.replace(/\/+$/, "")}/api/audit/export`);
      for (const [name, value] of Object.entries({ format, after, since, until })) {
        if (value !== undefined) url.searchParams.set(name, value);
      }
      const headers = { authorization: authorizationOf(apiKey) };
      const { status, body, ...answer } = await ask(url, headers);
      if (status !== 200 || body === null) throw new Error(await answer.problem());
      return body;
    },
  };
}

async function ask(url: URL, headers: Record<string, string>) {
  const answer = await fetch(url, { headers, redirect: "manual" }).catch((error: unknown) => {
    throw new Error(`no answer from a Patchbay at ${url.origin}`, { cause: error });
  });
  return {
    status: answer.status,
    body: answer.body,
    async problem() {
      const { error } = (await answer.json().catch(() => ({}))) as { error?: unknown };
      return typeof error === "string" ? error : `${url.origin} answered ${answer.status}`;
    },
  };
}
