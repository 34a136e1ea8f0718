/** Does some work when it is first asked for, and once for each name; again if it failed. */
export function onceFor<T extends { readonly name: string }, V>(
  work: (named: T) => Promise<V>,
): (named: T) => Promise<V> {
  const done = new Map<string, Promise<V>>();
  return (named) => {
    const known = done.get(named.name);
    if (known !== undefined) return known;
    const doing = work(named);
    done.set(named.name, doing);
    doing.catch(() => done.delete(named.name));
    return doing;
  };
}
