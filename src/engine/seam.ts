import { turnLimits } from "../limits.ts";

/** The model has begun its answer again instead of going on with what it was given. */
export class BegunAgain extends Error {
  override readonly name = "BegunAgain";
}

/** Joins what a model writes to the text that it was given to go on with. */
export type Seam = {
  /** What of a piece is new. Throws BegunAgain where the model turns out to answer anew. */
  take(content: string): string;
  /** What was held back to the end. */
  end(): string;
};

/**
 * The model was sent `begun` without its trailing white space, which it may write again: what it repeats of that is left
 * out, so that text and continuation join without a gap or a double. Some servers say that they continue and let the
 * model repeat itself: a repetition of all that was given is left out, one that then goes another way is an answer anew.
 */
export function makeSeam(begun: string): Seam {
  const given = begun.trimEnd();
  const blank = blankSeam(begun.slice(given.length));
  let held: string | null = canBeToldApart(given) ? "" : null;

  return {
    take: (content) => {
      if (held === null) return blank(content);
      held += content;
      const written = held.trimStart();
      const same = commonLength(written, given);
      if (same === written.length && same < given.length) return "";
      const whole = held;
      held = null;
      if (same === given.length) return blank(written.slice(same));
      if (same >= turnLimits.repeatedCharsMin) throw new BegunAgain();
      return blank(whole);
    },
    end: () => {
      if (held === null) return "";
      if (held.trimStart().length >= turnLimits.repeatedCharsMin) throw new BegunAgain();
      return blank(held);
    },
  };
}

/** A short text may well come twice, and one that repeats itself goes on as it began. */
function canBeToldApart(given: string): boolean {
  const { repeatedCharsMin } = turnLimits;
  if (given.length < repeatedCharsMin) return false;
  return given.indexOf(given.slice(0, repeatedCharsMin / 2), 1) === -1;
}

function blankSeam(blank: string): (content: string) => string {
  let expected = blank;
  return (content) => {
    const same = commonLength(expected, content);
    expected = same === content.length ? expected.slice(same) : "";
    return content.slice(same);
  };
}

function commonLength(a: string, b: string): number {
  const most = Math.min(a.length, b.length);
  let same = 0;
  while (same < most && a[same] === b[same]) same++;
  return same;
}
