/** In what a token endpoint may differ from RFC 6749. Some change how its answers are read; others tell people what to expect. */
export const responseQuirks = [
  "form_encoded_answer",
  "form_encoded_answer_old_versions",
  "token_type_missing",
  "token_type_nonstandard",
  "token_type_uncertain",
  "error_in_200",
  "error_shape_nonstandard",
  "scope_array",
  "scope_array_possible",
  "scope_null",
  "scope_comma_separated",
  "scope_missing",
  "scope_in_other_field",
  "scope_ignored",
  "scope_granted_may_be_fewer",
  "refresh_token_null",
  "refresh_token_omitted_on_refresh",
  "refresh_token_only_first_consent",
  "expires_in_missing_means_never",
  "expires_in_missing_but_expires",
  "expires_in_zero_means_never",
  "access_token_lifetime_varies",
  "nested_user_token",
  "id_token_in_answer",
  "id_token_issuer_is_template",
  "base_url_in_answer",
  "separate_refresh_url",
  "json_token_request",
  "callback_hmac",
  "reuse_revokes_family",
  "x_refresh_token_expires_in",
  "expires_in_null",
  "status_201",
] as const;

/** One of them. */
export type ResponseQuirk = (typeof responseQuirks)[number];

/** A text in which `{name}` stands for a value, and nothing else has a meaning. */
export type Template = string;

/** What a service is to its connections: where it is, how one signs in, and how it is seen to work. */
export interface Integration {
  /** A sibling product's or a preset's, or `custom:<slug>` for one of the organisation's own. */
  readonly slug: string;
  readonly name: string;
  readonly category?: string;
  /** Absent where each connection says its own. */
  readonly baseUrl?: Template;
  /** Where the base URL is answered by the service, as a part of signing in. */
  readonly baseUrlFrom?: BaseUrlFrom;
  readonly placeholders?: Readonly<Record<string, Placeholder>>;
  /** Further hosts that the probe may go to with the credential. */
  readonly allowedHosts?: readonly string[];
  readonly requiredHeaders?: Readonly<Record<string, string>>;
  readonly optionalHeaders?: Readonly<Record<string, string>>;
  readonly authMethods: readonly AuthMethod[];
  /** Absent: any answer but 5xx says that it is there. */
  readonly probe?: ProbeCall;
  readonly docs?: string;
  /** Where it publishes its own OpenAPI document, below the base URL; absent for the usual place. */
  readonly openapiPath?: string;
  /** Counts up with each change of one of the organisation's own; the release's for others. */
  readonly version: number;
}

/** A way to sign in to a service. */
export interface AuthMethod {
  /** Unique in its integration. */
  readonly id: string;
  readonly type: "oauth2" | "api_key" | "basic" | "bearer" | "custom" | "mtls";
  readonly label: string;
  readonly note?: string;
  /** Instead of the integration's. */
  readonly baseUrl?: Template;
  readonly oauth2?: OAuth2Method;
  /** What a person gives. */
  readonly fields: readonly CredentialField[];
  /** Where it goes in a request. Of `oauth2`, `{accessToken}` is filled in. */
  readonly inject: InjectionTemplate;
  /** Why a service that signs its requests cannot be connected yet; absent for what can. */
  readonly unsupported?: string;
}

/** One thing that a person gives to sign in. */
export interface CredentialField {
  readonly name: string;
  readonly label?: string;
  readonly secret: boolean;
  /** Anchored, in the syntax of RE2. */
  readonly pattern?: string;
  readonly enum?: readonly string[];
  readonly default?: string;
  readonly optional?: boolean;
}

/** What goes into each request: by name, a text and the fields in it. */
export interface InjectionTemplate {
  readonly headers?: Readonly<Record<string, Template>>;
  readonly query?: Readonly<Record<string, Template>>;
  readonly cookies?: Readonly<Record<string, Template>>;
  /** Members of a JSON object, or parameters of a form. */
  readonly body?: Readonly<Record<string, Template>>;
  /** HTTP Basic, in UTF-8. */
  readonly basic?: { readonly username: Template; readonly password: Template };
  /** The fields that hold a PEM certificate and its key, shown in the TLS handshake. */
  readonly certificate?: { readonly certificate: Template; readonly privateKey: Template };
}

/** A part of an integration's URLs or headers that differs between tenants. */
export interface Placeholder {
  readonly in: "host" | "path" | "header" | "query";
  /** Anchored, in the syntax of RE2. */
  readonly pattern?: string;
  readonly enum?: readonly string[];
  readonly default?: string;
  readonly example: string;
  readonly note?: string;
}

/** Where a service says what its base URL is. Used only if it matches. */
export interface BaseUrlFrom {
  readonly source: "token_answer";
  readonly field: string;
  readonly mustMatch: string;
}

/** A call that shows that a service works, and that a credential is good. */
export interface ProbeCall {
  readonly method: "GET" | "HEAD" | "POST";
  readonly path: string;
  readonly baseUrl?: Template;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly expect: {
    readonly status: number;
    /** A JSON pointer's value in the answer must be there. */
    readonly member?: string;
  };
  /** Statuses that a good credential with few rights gets. */
  readonly alsoValid?: readonly number[];
  /** Not asked every minute. */
  readonly onDemandOnly?: boolean;
}

/** How OAuth 2.0 is spoken with a service. */
export interface OAuth2Method {
  readonly grant: "authorization_code" | "client_credentials" | "device_code" | "account_credentials";
  readonly issuer?: Template;
  /** Ask the issuer for the URLs that are absent here (RFC 8414). */
  readonly discover?: boolean;
  readonly authorizationUrl?: Template;
  readonly tokenUrl?: Template;
  readonly refreshUrl?: Template;
  readonly revocationUrl?: Template;
  readonly deviceAuthorizationUrl?: Template;
  /** Of services that revoke in a way of their own. */
  readonly revocation?: {
    readonly style: "get" | "post" | "post-json" | "delete";
    readonly url: Template;
    readonly auth: "basic" | "bearer";
  };
  readonly pkce: "required" | "supported" | "ignored" | "breaks";
  readonly clientAuthentication: "basic" | "post" | "either" | "none";
  readonly basicEncoding?: "rfc6749" | "raw";
  /** Null where none is sent. */
  readonly scopeParameter?: string | null;
  readonly scopeSeparator: " " | ",";
  readonly defaultScopes: readonly string[];
  readonly extraAuthorizationParameters?: Readonly<Record<string, string>>;
  readonly extraTokenParameters?: Readonly<Record<string, string>>;
  readonly refresh: "none" | "static" | "rotating";
  readonly reuseGraceSeconds?: number;
  readonly accessTokenLifetimeSeconds?: number | null;
  /** Refreshed this often though nobody calls, for grants that end when they are not used. */
  readonly keepAliveSeconds?: number;
  /** Where fields of the token answer are, if not at its top: `{"access_token": "/authed_user/access_token"}`. */
  readonly tokenPath?: Readonly<Record<string, string>>;
  readonly responseQuirks: readonly ResponseQuirk[];
}

/**
 * How a connection's calls are made: what its integration said when the credential was stored, with placeholders
 * filled in. A later change of the integration moves no stored secret.
 */
export interface Recipe {
  readonly version: number;
  readonly method: AuthMethod;
  /** Further hosts that the probe may go to with the credential. */
  readonly allowedHosts: readonly string[];
  /** What every request carries beside the credential. */
  readonly headers: Readonly<Record<string, string>>;
  readonly probe?: ProbeCall;
  /** Where the service says its base URL, as a part of signing in. */
  readonly baseUrlFrom?: BaseUrlFrom;
}

/** The one that a connection has which was registered with an `apiKey`. */
export const bearerRecipe: Recipe = {
  version: 0,
  method: {
    id: "bearer",
    type: "bearer",
    label: "Bearer token",
    fields: [{ name: "token", secret: true }],
    inject: { headers: { Authorization: "Bearer {token}" } },
  },
  allowedHosts: [],
  headers: {},
};
