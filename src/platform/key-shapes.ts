/** Recognises keys, ours and those of earlier systems, in what clients send and in what is about to be written. */
export interface KeyShapes {
  /** Whether a text holds what may be a key. In doubt it says yes: the text was chosen by a client. */
  foundIn(text: string): boolean;
  /** The text with the secret part of every key taken out. */
  redact(text: string): string;
}

/** No key that was imported is shorter. */
const shortest = 16;

/** The shapes of issued keys, and of those that begin with one of these prefixes. */
export function createKeyShapes(legacyPrefixes: readonly string[]): KeyShapes {
  const imported = importedKeys(legacyPrefixes);
  return {
    foundIn: (text) => /qe_sk_/i.test(text) || text.search(imported) !== -1,
    redact: (text) => text.replace(issuedKeys, "$<prefix>[secret]").replace(imported, "$<prefix>[secret]"),
  };
}

// In any case: a key whose case was changed on the way is no good, but is easily changed back.
const issuedKeys = /(?<prefix>qe_sk_(?:sandbox|live)_)[a-z2-7]{6,}/gi;

/** They hold any characters, but are long; scopes and names may begin like one. */
function importedKeys(prefixes: readonly string[]): RegExp {
  const shapes = prefixes.map(
    (prefix) => String.raw`${prefix}(?=[^\s"\\/?&]{${Math.max(1, shortest - prefix.length)}})`,
  );
  return new RegExp(String.raw`(?<![a-z0-9])(?<prefix>${shapes.join("|") || "(?!)"})[^\s"\\/?&]+`, "gi");
}
