import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import type { AuthMethod } from "#src/integrations/integration.ts";
import { present } from "#src/platform/present.ts";
import { oauthWays, type OAuthContext } from "./oauth-flows.ts";
import { lineOf, textOf } from "./text.ts";

/** A way to use a security scheme: its share of an auth method. */
export interface Way extends Pick<AuthMethod, "type" | "label" | "note" | "oauth2" | "fields" | "inject"> {
  /** Tells the ways of one scheme apart; undefined if it has one. */
  readonly suffix?: string;
}

/** What a scheme is read with. */
export interface SchemeContext extends OAuthContext {
  /** What a field is called that usually has this name. */
  readonly fieldName: (usual: string) => string;
}

/** The ways to use a security scheme, or why there is none. */
export function waysOf(scheme: JsonObject, context: SchemeContext): readonly Way[] | string {
  const note = lineOf(scheme["description"], 500);
  const ways = undescribedWays(scheme, context);
  return typeof ways === "string" ? ways : ways.map((way) => present({ ...way, note }));
}

function undescribedWays(scheme: JsonObject, context: SchemeContext): readonly Way[] | string {
  switch (scheme["type"]) {
    case "apiKey":
      return apiKey(scheme, context);
    case "http":
      return http(scheme, context);
    case "oauth2":
    case "openIdConnect":
      return oauthWays(scheme, context);
    case "mutualTLS":
      return [clientCertificate(context)];
    default:
      return `has the type ${shown(scheme["type"])}, which OpenAPI does not know`;
  }
}

function apiKey(scheme: JsonObject, { fieldName }: SchemeContext): readonly Way[] | string {
  const name = textOf(scheme["name"]) ?? "";
  const places = { header: "headers", query: "query", cookie: "cookies" } as const;
  const place = Object.entries(places).find(([one]) => one === scheme["in"])?.[1];
  if (name === "" || place === undefined) return "says no name, or no place among header, query and cookie";
  // Swagger 2.0 had no other way to say it, and its documents say it in their own words.
  if (
    name.toLowerCase() === "authorization" &&
    place === "headers" &&
    /\bbearer\b/i.test(textOf(scheme["description"]) ?? "")
  ) {
    return [token("bearer", "Bearer token", "Bearer", fieldName("token"))];
  }
  const field = fieldName("apiKey");
  return [
    {
      type: "api_key",
      label: lineOf(`API key in ${name}`, 128) ?? "API key",
      fields: [present({ name: field, label: lineOf(name, 128), secret: true })],
      inject: { [place]: { [name]: `{${field}}` } },
    },
  ];
}

function http(scheme: JsonObject, { fieldName }: SchemeContext): readonly Way[] | string {
  const name = textOf(scheme["scheme"]) ?? "";
  const lower = name.toLowerCase();
  if (lower === "basic") return [basic(fieldName("username"), fieldName("password"))];
  if (lower === "bearer") return [token("bearer", "Bearer token", "Bearer", fieldName("token"))];
  if (computed.has(lower) || lower.startsWith("scram-")) {
    return `is HTTP authentication by ${name}, which is computed for each request; that is not supported yet`;
  }
  if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}$/.test(name))
    return `has no HTTP authentication scheme: ${shown(scheme["scheme"])}`;
  return [token("api_key", `Token in Authorization: ${name}`, name, fieldName("token"))];
}

/** Those of IANA's list that need more than a text from whoever signs in. */
const computed = new Set([
  "concealed",
  "digest",
  "dpop",
  "gnap",
  "hoba",
  "mutual",
  "negotiate",
  "oauth",
  "privatetoken",
  "vapid",
]);

function basic(username: string, password: string): Way {
  return {
    type: "basic",
    label: "User name and password",
    fields: [
      { name: username, secret: false },
      // Some services take an API key for a user name, and nothing beside it.
      { name: password, secret: true, optional: true },
    ],
    inject: { basic: { username: `{${username}}`, password: `{${password}}` } },
  };
}

function token(type: "bearer" | "api_key", label: string, scheme: string, field: string): Way {
  return {
    type,
    label,
    fields: [{ name: field, secret: true }],
    inject: { headers: { Authorization: `${scheme} {${field}}` } },
  };
}

function clientCertificate({ fieldName }: SchemeContext): Way {
  const [certificate, privateKey] = [fieldName("certificate"), fieldName("privateKey")];
  return {
    type: "mtls",
    label: "Client certificate",
    fields: [
      { name: certificate, label: "Certificate in PEM", secret: false },
      { name: privateKey, label: "Private key in PEM", secret: true },
    ],
    inject: { certificate: { certificate: `{${certificate}}`, privateKey: `{${privateKey}}` } },
  };
}

/** What stands there instead, for people. */
function shown(value: JsonValue | undefined): string {
  return value === undefined ? "none" : (lineOf(JSON.stringify(value), 60) ?? "none");
}
