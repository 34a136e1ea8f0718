type Texts = Readonly<Record<string, string>>;

/** Where secrets are in a request. */
interface Carriers {
  readonly headers: Texts;
  readonly query: Texts;
  readonly cookies: Texts;
  readonly body: Texts;
  readonly basic: { readonly pair: string; readonly header: string } | undefined;
}

/**
 * A secret of a few bytes is in most answers by chance: a dummy key "none" would break every call. So a shorter one is
 * sought as the text that carries it, which is how services echo it.
 */
const shortestSought = 8;

/** What must not come back of the secrets, as they are or in the form in which they are sent. */
export function soughtIn(secrets: readonly string[], carriers: Carriers): string[] {
  const { basic } = carriers;
  const sought = secrets.filter((secret) => secret.length >= shortestSought);
  const short = secrets.filter((secret) => secret !== "" && secret.length < shortestSought);
  if (short.length > 0) {
    sought.push(...textsOf(carriers).filter((text) => short.some((secret) => text.includes(secret))));
  }
  if (basic !== undefined) {
    sought.push(
      ...[basic.header.slice("Basic ".length), basic.pair].filter((text) => text.length >= shortestSought),
    );
    if (short.length > 0) sought.push(basic.header);
  }
  return [...new Set(sought)];
}

function textsOf({ headers, query, cookies, body }: Carriers): string[] {
  const entries = (texts: Texts) => Object.entries(texts);
  const long = Object.values(headers).filter((value) => value.length >= shortestSought);
  const named = entries(headers).filter(([, value]) => value.length < shortestSought);
  return [
    ...long,
    ...named.map(([name, value]) => `${name}: ${value}`),
    ...[query, cookies, body].flatMap(entries).map(([name, value]) => `${name}=${value}`),
    ...[...named, ...entries(body)].map(
      ([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`,
    ),
  ];
}
