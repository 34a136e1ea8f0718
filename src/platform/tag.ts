/** What people sort records by: lower case, so that no two tags look alike and differ. */
const grammar = /^[a-z0-9][a-z0-9._:-]{0,62}$/;

/** Whether the text can be a tag. */
export function isTag(text: string): boolean {
  return grammar.test(text);
}
