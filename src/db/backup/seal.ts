/** The digest of a backup, as a root key wrapped it. */
export interface Seal {
  /** Which root key that was: a file may have been written while one took the place of another. */
  readonly rootKeyId: string;
  readonly wrapped: Buffer;
}
