/** The scripted model's words end in their number, so that one lost or doubled shows. */
export const numbersIn = (text: string): readonly number[] =>
  text.split(" ").map((word) => Number(word.split("-")[1]));

export const numbersTo = (count: number): readonly number[] =>
  Array.from({ length: count }, (_, index) => index + 1);

export const wordsIn = (text: string): number => (text === "" ? 0 : text.split(" ").length);
