/** What stands in binary before each kind of `google.protobuf.Value`. */
export const valueTags = {
  null: 0x08,
  number: 0x11,
  string: 0x1a,
  bool: 0x20,
  struct: 0x2a,
  list: 0x32,
} as const;

/** Before a list's values, a Struct's entries, and an entry's key. */
export const firstTag = 0x0a;

/** Before an entry's value. */
export const entryValueTag = 0x12;
