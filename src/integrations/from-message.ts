import type {
  AuthMethod as AuthMethodMessage,
  CredentialField as CredentialFieldMessage,
  Injection as InjectionMessage,
  OAuth2Method as OAuth2MethodMessage,
  Placeholder as PlaceholderMessage,
  ProbeCall as ProbeCallMessage,
} from "#gen/patchbay/integrations/v1/integration_pb.js";
import type { UpsertIntegrationRequest } from "#gen/patchbay/integrations/v1/integration_service_pb.js";
import { InvalidRequest } from "#src/platform/errors.ts";
import { present } from "#src/platform/present.ts";
import {
  responseQuirks,
  type AuthMethod,
  type CredentialField,
  type InjectionTemplate,
  type Integration,
  type OAuth2Method,
  type Placeholder,
  type ProbeCall,
} from "./integration.ts";

/** What the request defines. Whether it is sound is for `requireSound` to say. */
export function definitionFrom(request: UpsertIntegrationRequest, version: number): Integration {
  const { slug, name, category, baseUrl, docs, probe, openapiPath } = request;
  return present({
    slug,
    name,
    category,
    baseUrl,
    placeholders: mapped(request.placeholders, placeholderFrom),
    allowedHosts: listed(request.allowedHosts),
    requiredHeaders: texts(request.requiredHeaders),
    optionalHeaders: texts(request.optionalHeaders),
    authMethods: request.authMethods.map((method, i) => methodFrom(`authMethods[${i}]`, method)),
    probe: probe && probeFrom(probe),
    docs,
    openapiPath,
    version,
  });
}

function placeholderFrom({
  place,
  pattern,
  oneOf,
  default: usual,
  example,
  note,
}: PlaceholderMessage): Placeholder {
  return present({
    in: chosen(["host", "path", "header", "query"], place),
    pattern,
    enum: listed(oneOf),
    default: usual,
    example,
    note,
  });
}

function methodFrom(at: string, message: AuthMethodMessage): AuthMethod {
  const { id, label, note, baseUrl, oauth2, fields, inject, unsupported } = message;
  return present({
    id,
    type: chosen(["oauth2", "api_key", "basic", "bearer", "custom", "mtls"], message.type),
    label,
    note,
    baseUrl,
    oauth2: oauth2 && oauthFrom(`${at}.oauth2`, oauth2),
    fields: fields.map(fieldFrom),
    inject: injectionFrom(inject, oauth2 !== undefined),
    unsupported,
  });
}

function fieldFrom({
  name,
  label,
  secret,
  pattern,
  oneOf,
  default: usual,
  optional,
}: CredentialFieldMessage): CredentialField {
  return present({
    name,
    label,
    secret,
    pattern,
    enum: listed(oneOf),
    default: usual,
    optional: optional || undefined,
  });
}

function injectionFrom(message: InjectionMessage | undefined, isOAuth: boolean): InjectionTemplate {
  if (message === undefined) return isOAuth ? { headers: { Authorization: "Bearer {accessToken}" } } : {};
  const { headers, query, cookies, body, basic, certificate } = message;
  return present({
    headers: texts(headers),
    query: texts(query),
    cookies: texts(cookies),
    body: texts(body),
    basic: basic && { username: basic.username, password: basic.password },
    certificate: certificate && { certificate: certificate.certificate, privateKey: certificate.privateKey },
  });
}

function oauthFrom(at: string, message: OAuth2MethodMessage): OAuth2Method {
  const { issuer, authorizationUrl, tokenUrl, refreshUrl, revocationUrl } = message;
  const { deviceAuthorizationUrl, scopeParameter, reuseGraceSeconds, keepAliveSeconds, basicEncoding } =
    message;
  return present({
    grant: chosen(
      ["authorization_code", "client_credentials", "device_code", "account_credentials"],
      message.grant,
    ),
    ...{
      issuer,
      authorizationUrl,
      tokenUrl,
      refreshUrl,
      revocationUrl,
      deviceAuthorizationUrl,
    },
    discover: message.discover || undefined,
    pkce: chosen(["required", "supported", "ignored", "breaks"], message.pkce),
    clientAuthentication: chosen(["basic", "post", "either", "none"], message.clientAuthentication),
    basicEncoding: basicEncoding === undefined ? undefined : chosen(["rfc6749", "raw"], basicEncoding),
    scopeParameter: scopeParameter === "" ? null : scopeParameter,
    scopeSeparator: chosen([" ", ","], message.scopeSeparator),
    defaultScopes: message.defaultScopes,
    extraAuthorizationParameters: texts(message.extraAuthorizationParameters),
    extraTokenParameters: texts(message.extraTokenParameters),
    refresh: chosen(["none", "static", "rotating"], message.refresh),
    reuseGraceSeconds,
    accessTokenLifetimeSeconds:
      message.accessTokenLifetimeSeconds === 0 ? null : message.accessTokenLifetimeSeconds,
    keepAliveSeconds,
    tokenPath: texts(message.tokenPath),
    responseQuirks: message.responseQuirks.map((name) => {
      const quirk = responseQuirks.find((one) => one === name);
      if (quirk !== undefined) return quirk;
      throw new InvalidRequest(`${at}.responseQuirks: give some of ${responseQuirks.join(", ")}`);
    }),
  });
}

function probeFrom({
  path,
  baseUrl,
  headers,
  body,
  status,
  member,
  alsoValid,
  onDemandOnly,
  method,
}: ProbeCallMessage): ProbeCall {
  return present({
    method: chosen(["GET", "HEAD", "POST"], method),
    path,
    baseUrl,
    headers: texts(headers),
    body,
    expect: present({ status, member }),
    alsoValid: listed(alsoValid),
    onDemandOnly: onDemandOnly || undefined,
  });
}

/** The one of the list that it is. The contract's rules have refused every other. */
function chosen<const Choice extends string>(choices: readonly Choice[], text: string): Choice {
  const choice = choices.find((one) => one === text);
  if (choice === undefined) throw new Error(`the contract lets ${JSON.stringify(text)} through`);
  return choice;
}

function mapped<From, To>(map: Readonly<Record<string, From>>, convert: (from: From) => To) {
  const entries = Object.entries(map).map(([name, value]) => [name, convert(value)] as const);
  return entries.length === 0 ? undefined : (Object.fromEntries(entries) as Record<string, To>);
}

function texts(map: Readonly<Record<string, string>>): Readonly<Record<string, string>> | undefined {
  return Object.keys(map).length === 0 ? undefined : map;
}

function listed<Item>(list: readonly Item[]): readonly Item[] | undefined {
  return list.length === 0 ? undefined : list;
}
