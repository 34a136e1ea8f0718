import { inspect } from "node:util";

const shown = "[secret]";

/**
 * A secret that cannot be logged, printed or serialised by accident, only revealed on purpose.
 *
 * The bytes are a Buffer of their own so that `wipe` really removes them: a string stays in memory until the
 * collector comes by, and a core dump shows it.
 */
export class Secret implements Disposable {
  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  static fromText(text: string): Secret {
    return new Secret(Buffer.from(text, "utf8"));
  }

  /** The bytes themselves, not a copy: they are gone after `wipe`. */
  reveal(): Buffer {
    return this.#bytes;
  }

  wipe(): void {
    this.#bytes.fill(0);
  }

  [Symbol.dispose](): void {
    this.wipe();
  }

  toString(): string {
    return shown;
  }

  toJSON(): string {
    return shown;
  }

  [inspect.custom](): string {
    return shown;
  }
}
