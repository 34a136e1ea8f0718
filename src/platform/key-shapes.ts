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
    foundIn: (text) => [/qe_sk_/i, ...imported].some((shape) => text.search(shape) !== -1),
    redact: (text) =>
      [issuedKeys, ...imported].reduce((safe, shape) => safe.replace(shape, "$<prefix>[secret]"), text),
  };
}

// In any case: a key whose case was changed on the way is no good, but is easily changed back.
const issuedKeys = /(?<prefix>qe_sk_(?:sandbox|live)_)[a-z2-7]{6,}/gi;

/** They hold any characters, but are long; scopes and names may begin like one. Of none, there is no shape. */
function importedKeys(prefixes: readonly string[]): readonly RegExp[] {
  // One that matches nothing takes six times as long to find that out as all the others.
  if (prefixes.length === 0) return [];
  const shapes = prefixes.map(
    (prefix) => String.raw`${prefix}(?=[^\s"\\/?&]{${Math.max(1, shortest - prefix.length)}})`,
  );
  return [new RegExp(String.raw`(?<![a-z0-9])(?<prefix>${shapes.join("|")})[^\s"\\/?&]+`, "gi")];
}
