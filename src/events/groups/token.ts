import { InvalidRequest } from "#src/platform/errors.ts";

/** One event of one delivery. */
export interface Named {
  readonly deliveryId: string;
  readonly seq: number;
}

/** The token by which a consumer names what it was given. */
export function tokenOf({ deliveryId, seq }: Named): string {
  return `${deliveryId}.${seq}`;
}

const grammar = /^(?<deliveryId>[\w-]{22})\.(?<seq>[1-9]\d{0,15})$/;

/** Throws for what cannot have been given out. */
export function readToken(token: string): Named {
  const { deliveryId, seq } = grammar.exec(token)?.groups ?? {};
  if (deliveryId === undefined || seq === undefined) {
    throw new InvalidRequest(
      `tokens: ${JSON.stringify(token)} is not one that a pull answered; give tokens of its deliveries`,
    );
  }
  return { deliveryId, seq: Number(seq) };
}
