import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import type { Json } from "./json-schema.ts";

/** What of a schema says how its values are written. */
export interface Schema {
  readonly type?: string;
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly contentMediaType?: string;
  readonly [keyword: string]: unknown;
}

/** A parameter, or a member of a form, as a document describes it. */
interface Described {
  readonly name: string;
  readonly in?: string;
  readonly schema?: Schema;
  readonly style?: string;
  readonly explode?: boolean;
  readonly allowReserved?: boolean;
  readonly content?: Readonly<Record<string, { readonly schema: Schema }>>;
}

/** An operation of a document whose schemas stand where they are used. */
export interface DescribedOperation {
  readonly operationId: string;
  readonly parameters?: readonly Described[];
  readonly requestBody?: {
    readonly content: Readonly<
      Record<string, { readonly schema: Schema; readonly encoding?: Record<string, Omit<Described, "name">> }>
    >;
  };
}

/** An OpenAPI document, as far as calls go by it. */
export interface DescribedPaths {
  readonly paths: Readonly<Record<string, Readonly<Record<string, DescribedOperation>>>>;
}

/** What a server understood of a request: the operation, and what it was called with. */
export type Understood = Readonly<Record<"path" | "query" | "header", Readonly<Record<string, Json>>>> & {
  readonly operationId: string;
  readonly body?: Json;
};

/** A server that reads requests by its document, and by nothing else. */
export interface DocumentedServer extends AsyncDisposable {
  readonly url: string;
  readonly understood: readonly Understood[];
}

/** Starts a server that answers each request with what it understood of it. */
export async function startDocumented(document: DescribedPaths): Promise<DocumentedServer> {
  const understood: Understood[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    const answer = async () => {
      const { method = "", url = "", headers } = request;
      const one = await understand(document, method, url, headers, Buffer.concat(chunks));
      understood.push(one);
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(one));
    };
    request.on("end", () => void answer().catch((error) => response.writeHead(500).end(String(error))));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    understood,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function understand(
  { paths }: DescribedPaths,
  method: string,
  url: string,
  headers: IncomingHttpHeaders,
  sent: Buffer,
): Promise<Understood> {
  const [path = "", query = ""] = url.split("?");
  for (const [template, operations] of Object.entries(paths)) {
    const segments = matched(template, path);
    const operation = operations[method.toLowerCase()];
    if (segments === undefined || operation === undefined) continue;
    const { operationId, parameters = [], requestBody } = operation;
    const pairs = pairsOf(query);
    const of = (place: string, read: (one: Described) => Json | undefined) =>
      Object.fromEntries(
        parameters
          .filter((one) => one.in === place)
          .map((one) => [one.name, read(one)] as const)
          .filter((entry): entry is [string, Json] => entry[1] !== undefined),
      );
    const body = requestBody && (await bodyOf(requestBody.content, headers["content-type"] ?? "", sent));
    return {
      operationId,
      path: of("path", (one) => fromPath(one, segments[one.name] ?? "")),
      query: of("query", (one) => fromPairs(one, pairs)),
      header: of("header", (one) => fromHeader(one, headers[one.name.toLowerCase()])),
      ...(body !== undefined && { body }),
    };
  }
  throw new Error(`no operation for ${method} ${url}`);
}

function matched(template: string, path: string): Record<string, string> | undefined {
  const pattern = template.replace(/\{(\w+)\}/g, "(?<$1>[^/]+)");
  const found = new RegExp(`^${pattern}$`).exec(path);
  return found === null ? undefined : { ...found.groups };
}

type Pair = readonly [name: string, value: string];

function pairsOf(text: string): Pair[] {
  return text
    .split("&")
    .filter((pair) => pair !== "")
    .map((pair) => pair.split(/=(.*)/s))
    .map(([name = "", value = ""]) => [decoded(name), value]);
}

function decoded(text: string): string {
  return decodeURIComponent(text.replaceAll("+", " "));
}

const isJson = ({ content }: Described) => content?.["application/json"] !== undefined;
const typeOf = ({ schema }: Described) => schema?.type;

function fromPath(described: Described, text: string): Json {
  const { name, style = "simple", explode = false } = described;
  if (isJson(described)) return JSON.parse(decoded(text)) as Json;
  if (style === "matrix") {
    const pairs = text.slice(1).split(";").map((pair): Pair => [pair.replace(/=.*/, ""), pair.replace(/^[^=]*=/, "")]); // prettier-ignore
    return fromPairs({ ...described, style: "form", explode }, pairs, decodeURIComponent) ?? name;
  }
  const [bare, delimiter] = style === "label" ? [text.slice(1), explode ? "." : ","] : [text, ","];
  return fromDelimited(described, bare.split(delimiter), explode, decodeURIComponent);
}

function fromHeader(described: Described, text: string | string[] | undefined): Json | undefined {
  if (typeof text !== "string") return undefined;
  if (isJson(described)) return JSON.parse(text) as Json;
  return fromDelimited(described, text.split(","), described.explode ?? false, (one) => one);
}

type Decode = (text: string) => string;

const delimiters: Record<string, string> = { form: ",", spaceDelimited: "%20", pipeDelimited: "%7C" };

function fromPairs(described: Described, pairs: readonly Pair[], decode: Decode = decoded): Json | undefined {
  const { name, style = "form", explode = style === "form" } = described;
  const own = pairs.filter((pair) => pair[0] === name).map(([, value]) => value);
  const [first] = own;
  if (isJson(described)) return first === undefined ? undefined : (JSON.parse(decode(first)) as Json);
  if (typeOf(described) === "object" && (explode || style === "deepObject")) {
    const names = Object.keys(described.schema?.properties ?? {});
    const inPairs = (member: string) => (style === "deepObject" ? `${name}[${member}]` : member);
    const found = names.map((member) => pairs.find((pair) => pair[0] === inPairs(member))?.[1]);
    return objectOf(
      described,
      names.map((member, at): Pair => [member, decode(found[at] ?? "")]),
    );
  }
  if (first === undefined) return undefined;
  if (typeOf(described) === "array" && explode)
    return own.map((one) => scalarOf(itemsOf(described), decode(one)));
  return fromDelimited(described, typeOf(described) === "string" ? [first] : first.split(delimiters[style] ?? ""), false, decode); // prettier-ignore
}

function fromDelimited(
  described: Described,
  texts: readonly string[],
  explode: boolean,
  decode: Decode,
): Json {
  if (typeOf(described) === "array") return texts.map((one) => scalarOf(itemsOf(described), decode(one)));
  if (typeOf(described) !== "object") return scalarOf(described.schema, decode(texts.join(",")));
  const flat = explode ? texts.flatMap((one) => one.split("=")) : texts;
  const pairs = flat.flatMap((name, at): Pair[] =>
    at % 2 === 0 ? [[decode(name), decode(flat[at + 1] ?? "")]] : [],
  );
  return objectOf(described, pairs);
}

function objectOf({ schema }: Described, pairs: readonly Pair[]): Json {
  const properties = schema?.properties ?? {};
  return Object.fromEntries(pairs.map(([name, text]) => [name, scalarOf(properties[name], text)]));
}

const itemsOf = ({ schema }: Described) => schema?.items;

function scalarOf(schema: Schema | undefined, text: string): Json {
  if (schema?.type === "integer" || schema?.type === "number") return Number(text);
  return schema?.type === "boolean" ? text === "true" : text;
}

type Content = NonNullable<DescribedOperation["requestBody"]>["content"];

async function bodyOf(content: Content, contentType: string, sent: Buffer): Promise<Json> {
  const [essence = ""] = contentType.split(";");
  const media = content[essence];
  if (media === undefined) throw new Error(`${contentType} is none of ${Object.keys(content).join(", ")}`);
  if (essence.endsWith("json")) return JSON.parse(sent.toString()) as Json;
  if (essence.startsWith("text/")) return sent.toString();
  const members = Object.entries(media.schema.properties ?? {});
  if (essence === "application/x-www-form-urlencoded") {
    const pairs = pairsOf(sent.toString("latin1"));
    return Object.fromEntries(
      members.map(([name, schema]) => {
        const described = { name, schema, ...media.encoding?.[name] };
        const isWhole = media.encoding?.[name]?.style === undefined && schema.type === "object";
        return [
          name,
          fromPairs(isWhole ? { name, content: { "application/json": { schema } } } : described, pairs),
        ];
      }),
    ) as Json;
  }
  if (!essence.startsWith("multipart/")) return sent.toString("base64");
  const response = new Response(new Uint8Array(sent), { headers: { "content-type": contentType } });
  // oxlint-disable-next-line typescript/no-deprecated -- of bodies by strangers, which this is not
  const form = await response.formData();
  const read = members.map(async ([name, schema]) => {
    const values = await Promise.all(form.getAll(name).map((value) => partOf(schema, value)));
    return [name, schema.type === "array" ? values : values[0]] as const;
  });
  return Object.fromEntries(await Promise.all(read)) as Json;
}

async function partOf(schema: Schema, value: string | File): Promise<Json> {
  if (typeof value !== "string") {
    const data = Buffer.from(await value.arrayBuffer()).toString("base64");
    return { filename: value.name, contentType: value.type, data };
  }
  const item = schema.items ?? schema;
  return item.type === "object" ? (JSON.parse(value) as Json) : scalarOf(item, value);
}
