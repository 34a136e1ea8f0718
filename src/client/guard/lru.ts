/** Remembers at most `max` values; beyond them, what was not asked for the longest is forgotten. */
export interface Lru<V> {
  get(key: string): V | undefined;
  set(key: string, value: V): void;
  deleteWhere(condemned: (value: V) => boolean): void;
  clear(): void;
}

export function createLru<V>(max: number): Lru<V> {
  // A Map yields its keys in the order in which they were put in.
  const values = new Map<string, V>();
  return {
    get(key) {
      const value = values.get(key);
      if (value === undefined) return undefined;
      values.delete(key);
      values.set(key, value);
      return value;
    },
    set(key, value) {
      values.delete(key);
      values.set(key, value);
      if (values.size <= max) return;
      for (const oldest of values.keys()) {
        values.delete(oldest);
        return;
      }
    },
    deleteWhere(condemned) {
      for (const [key, value] of values) if (condemned(value)) values.delete(key);
    },
    clear: () => values.clear(),
  };
}
