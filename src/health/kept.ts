/** How long transitions are kept. */
export const transitionsMs = 30 * 24 * 60 * 60 * 1_000;
