/** What a document may hold. The largest known ones have half of it. */
export const limits = {
  /** Also with the aliases of YAML written out. */
  bytes: 16 * 1024 * 1024,
  nodes: 400_000,
  depth: 64,
  operations: 5_000,
  /** Of one schema, with all that it refers to. */
  schemaBytes: 512 * 1024,
  /** Of all that is imported, with what operations share repeated in each. */
  importedBytes: 64 * 1024 * 1024,
  path: 1_000,
  /** Of one path: whoever looks for an endpoint walks along them. */
  segments: 32,
  /** Of one operation: all of them are in a row, and in a word of the index each. */
  scopes: 100,
  operationId: 200,
};
