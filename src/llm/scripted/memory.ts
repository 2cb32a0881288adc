/** Something told in the conversation, or asked for and not told (`value` undefined). */
export type Told = {
  readonly key: string;
  readonly value: string | undefined;
  /** The fact, or that it is not known, as the model says it. */
  readonly sentence: string;
};

const keyPattern = "[\\p{L}\\p{N}_'-][\\p{L}\\p{N}_' -]{0,60}?";

const statementPattern = new RegExp(
  `\\b(?:(?:remember|note)(?: that)?:? )?(?:(my|our|the) |(?<=(?:remember|note)(?: that)?:? ))` +
    `(${keyPattern})(?: is| are| =|:) ` +
    `(.{1,400}?)(?=$|;| but |,? and (?:my|our|the) |, (?:my|our|the) )`,
  "giu",
);

const questionPatterns = [
  new RegExp(
    `\\b(?:what|who|where|which)(?:'s| is| are| was| were) (?:(my|our|your|the|a) )?(${keyPattern})(?:$|[?.!,])`,
    "iu",
  ),
  new RegExp(
    `\\b(?:know|remember|remind me(?: of)?|tell me)(?: what| who| where)? (?:(my|our|the) )?` +
      `(${keyPattern})(?: is| are| was)?(?:$|[?.!,])`,
    "iu",
  ),
] as const;

const normal = (key: string): string =>
  key
    .toLowerCase()
    .replace(/ (?:again|now|please)$/, "")
    .trim();

const owned = (article: string | undefined): string => {
  const word = article?.toLowerCase() ?? "";
  if (word === "my" || word === "our") return "your ";
  return word === "" ? "" : "the ";
};

const capital = (text: string): string => text.slice(0, 1).toUpperCase() + text.slice(1);

const sentencesOf = (text: string): readonly string[] =>
  text
    .split(/(?<=[.!?])\s|\n/)
    .map((sentence) => sentence.replace(/\s+/g, " ").trim())
    .filter((sentence) => sentence !== "");

/** The facts that a text tells ("my name is X", "the code is 42", "remember that Y is Z"), in order; questions tell none. */
export const statementsIn = (text: string): readonly Told[] =>
  sentencesOf(text)
    .filter((sentence) => !sentence.endsWith("?"))
    .flatMap((sentence) => {
      const found = sentence.replace(/[.!]+$/, "").matchAll(statementPattern);
      return [...found].map(([, article, key = "", value = ""]) => ({
        key: normal(key),
        value,
        sentence: capital(`${owned(article)}${key} is ${value}.`),
      }));
    });

/** The sentences that tell something, as they were written; of those about one thing the last. */
export function tellingSentences(text: string): readonly string[] {
  const byKey = new Map<string, string>();
  for (const sentence of sentencesOf(text)) {
    const key = statementsIn(sentence).at(-1)?.key;
    if (key === undefined) continue;
    byKey.delete(key);
    byKey.set(key, sentence);
  }
  return [...byKey.values()];
}

/**
 * Answers a question from what the texts tell, oldest first; the newest statement counts. Null where the text asks
 * for nothing.
 */
export const recall = (question: string, texts: readonly string[]): Told | null => {
  for (const sentence of sentencesOf(question)) {
    for (const pattern of questionPatterns) {
      const [matched, article, asked = ""] = pattern.exec(sentence) ?? [];
      if (matched === undefined) continue;
      const key = normal(asked);
      for (const text of texts.toReversed()) {
        const told = statementsIn(text).findLast((statement) => statement.key === key);
        if (told !== undefined) return told;
      }
      const sentenceOfIgnorance = `I do not know ${owned(article)}${key}: nobody has told me.`;
      return { key, value: undefined, sentence: sentenceOfIgnorance };
    }
  }
  return null;
};
