/** A fault that is seeded by replacing a text, and the tests that have to find it. */
export type Fault = {
  /** What is broken, as a promise of the product that no longer holds. */
  readonly name: string;
  readonly file: string;
  /** Stands exactly once in the file. */
  readonly text: string;
  readonly by: string;
  readonly tests: readonly string[];
};
