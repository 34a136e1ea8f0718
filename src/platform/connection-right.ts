/**
 * Connections that a key may use, named by their slug, their id or a tag, and what it may do through them. A key with
 * a list of rights may use what one of them allows, and nothing else; one without a list may use every connection.
 */
export interface ConnectionRight {
  readonly connection: { readonly slug: string } | { readonly id: string } | { readonly tag: string };
  /** HTTP methods in capitals; absent for all. */
  readonly methods?: readonly string[];
  /** `/v1` is `/v1` and what is below it, and not `/v10`; absent for every path. */
  readonly pathPrefixes?: readonly string[];
}
