/** Gathers what is added in one turn of the event loop, and sends it as one. */
export function createBatch<T>(send: (gathered: readonly T[]) => void): (one: T) => void {
  let gathered: T[] = [];

  function flush(): void {
    const whole = gathered;
    gathered = [];
    send(whole);
  }

  return (one) => {
    gathered.push(one);
    // Behind all that this turn has read from sockets, and before it waits for more.
    if (gathered.length === 1) setImmediate(flush);
  };
}
