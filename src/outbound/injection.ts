/** What a credential puts into a request: last, in place of whatever of that name is there. */
export interface Injection {
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
  /** Not encoded yet. */
  readonly query: Readonly<Record<string, string>>;
  readonly cookies: Readonly<Record<string, string>>;
  /** Members of a JSON body, or parameters of a form. */
  readonly body: Readonly<Record<string, string>>;
  /** Shown in the TLS handshake, in PEM. */
  readonly certificate?: { readonly certificate: string; readonly privateKey: string } | undefined;
  /** What must not come back in the answer. */
  readonly secrets: readonly string[];
}

/** The credential that a call is made with. */
export interface OutboundCredential {
  /** The base URL that it was stored for. It is sent there and below, and nowhere else. */
  readonly boundTo: string;
  /**
   * What it puts into the request. Texts cannot be wiped as the sealed secret is, so they are made at the last moment
   * and never leave the call.
   */
  reveal(): Injection;
}
