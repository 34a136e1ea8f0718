/**
 * Settles like the work, or fails when it takes too long. The time is taken in two halves: after a pause of this
 * process, an answer that arrived meanwhile is read before the second one is over.
 */
export function answeredWithin<T>(milliseconds: number, work: Promise<T>): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const fail = () => reject(new Error(`no answer in ${milliseconds} ms`));
  let timer = setTimeout(() => (timer = setTimeout(fail, milliseconds / 2)), milliseconds / 2);
  work.then(resolve, reject).finally(() => clearTimeout(timer));
  return promise;
}
