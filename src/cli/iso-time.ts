/** The time member of a log line. Of the lines of one second, all but the first only need their milliseconds. */
export function createIsoTime(now: () => number): () => string {
  let second = Number.NaN;
  let beginning = "";
  return () => {
    const time = now();
    const current = Math.floor(time / 1000);
    if (current !== second) {
      second = current;
      beginning = new Date(current * 1000).toISOString().slice(0, -"000Z".length);
    }
    return `,"time":"${beginning}${String(time - current * 1000).padStart(3, "0")}Z"`;
  };
}
