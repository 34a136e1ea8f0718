import { setImmediate as nextTurn } from "node:timers/promises";

const callsBetweenTurns = 256;

/**
 * Answers per second, if there is a caller for each question who asks it over and over, always waiting for the
 * answer.
 */
export async function rateOf<Q>(
  questions: readonly Q[],
  ask: (question: Q) => Promise<void>,
  seconds: number,
): Promise<number> {
  const start = performance.now();
  const end = start + seconds * 1000;
  let answers = 0;

  async function keepAsking(question: Q): Promise<void> {
    for (let calls = 1; performance.now() < end; calls++) {
      await ask(question);
      answers++;
      // Answers out of memory would keep timers and sockets waiting until the end, as no real server does.
      if (calls % callsBetweenTurns === 0) await nextTurn();
    }
  }

  await Promise.all(questions.map(keepAsking));
  return answers / ((performance.now() - start) / 1000);
}
