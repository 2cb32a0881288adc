/** Bounds of the built-in scripted model; what it reads and writes stays small enough to be instant. */
export const scriptedLimits = {
  /** Its rules look at the head of each message only, so that a huge one costs no time. */
  readCharsMax: 64 * 1024,
  /** Words of a counted, long or told reply. */
  wordsMax: 20_000,
  /** Words of a message or a tool result that it quotes. */
  quotedWordsMax: 60,
  /** Letters of a text, and items of a list, where a schema asks for so many; of a list in a list one. */
  sampleCharsMax: 100,
  sampleItemsMax: 10,
  wordDelayMsDefault: 20,
  wordDelayMsMax: 60_000,
  /** Words written without a delay before other work gets its turn. */
  wordsBetweenYields: 64,
} as const;
