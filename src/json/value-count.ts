import { InvalidRequest } from "#src/platform/errors.ts";

/** What a request may hold beside JSON that is kept as text. The largest that any rule admits has 31,000 values. */
const maxValues = 40_000;
/** Of these, members of objects and entries of maps, which take longer to become a message. */
const maxMembers = 10_000;

/** Counts the values of a request, of which no more are read than become a message in some 20 ms. */
export class ValueCount {
  #values = 0;
  #members = 0;

  addValues(count: number): void {
    this.#values += count;
    if (this.#values > maxValues) throw tooMany(maxValues, "values");
  }

  addMember(): void {
    if (++this.#members > maxMembers) throw tooMany(maxMembers, "members of objects");
  }
}

function tooMany(most: number, what: string): InvalidRequest {
  return new InvalidRequest(`the body has more than ${most} ${what}`);
}
