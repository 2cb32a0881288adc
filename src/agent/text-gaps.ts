import { mustFit } from "./call-bounds.ts";

/** Gives on the text of an answer from which calls are taken out, without the rests that stood around them. */
export type TextGaps = {
  text(text: string): void;
  /** A call stood here. */
  call(): void;
  end(): void;
};

/** Backticks that make a block of code; fewer stand in a line. */
const blockTicks = 3;
/** Of the language that is named behind them. */
const languageCharsMax = 32;

/**
 * Of the white space on both sides of a call the longer stays where text follows, and none at the beginning and at the
 * end; of backticks around calls alone nothing stays. Text without a call is given on as it is. What may turn out to
 * stand before a call, white space and backticks, is held back until that is known; its length is bounded as a tool's
 * input is. `begun` was given on before.
 */
export function makeTextGaps(begun: string, show: (text: string) => void): TextGaps {
  let isShown = false;
  /** Within a block of code that is shown. */
  let inBlock = false;
  /** Held back, in this order: white space, a number of backticks, and what stands behind them up to the call. */
  let blank = "";
  let ticks = 0;
  let language = "";
  let isLanguageOver = false;
  /** Behind a call: the white space there, and the number of backticks behind that. */
  let isBehind = false;
  let gap = "";
  let closing = 0;

  const give = (text: string): void => {
    if (text === "") return;
    isShown = true;
    show(text);
  };
  const flush = (): void => {
    const longer = gap.length > blank.length ? gap : blank;
    const stands = isShown || !isBehind ? longer : "";
    give(ticks === 0 ? stands : stands + "`".repeat(ticks) + language);
    if (ticks >= blockTicks) inBlock = !inBlock;
    blank = "";
    ticks = 0;
    language = "";
    isLanguageOver = false;
    isBehind = false;
    gap = "";
    closing = 0;
  };
  /** The backticks behind a call have ended: they belong to those before it, or are text. */
  const settle = (): void => {
    if (closing === 0) return;
    if (closing === ticks) {
      ticks = 0;
      language = "";
      gap = "";
      closing = 0;
    } else {
      const opening = closing;
      flush();
      ticks = opening;
    }
  };
  /** What of `run` is text, behind backticks that may open a block. */
  const behindTicks = (run: string): string => {
    let rest = run;
    if (ticks >= blockTicks && !inBlock) {
      if (!isLanguageOver) {
        const [word = ""] = /^[\w-]*/.exec(rest) ?? [];
        language += word;
        rest = rest.slice(word.length);
        if (rest === "" && language.length <= languageCharsMax) return "";
        isLanguageOver = language.length <= languageCharsMax && /^\s/.test(rest);
      }
      if (isLanguageOver && rest.trim() === "") {
        language += rest;
        return "";
      }
    }
    flush();
    return rest;
  };
  /** `run` has no backticks. */
  const words = (run: string): void => {
    settle();
    let rest = run;
    if (isBehind) {
      rest = run.trimStart();
      gap += run.slice(0, run.length - rest.length);
      if (rest !== "") flush();
    } else if (ticks > 0) rest = behindTicks(run);
    const kept = rest.trimEnd();
    if (kept !== "") {
      flush();
      give(kept);
    }
    blank += rest.slice(kept.length);
  };
  const backticks = (count: number): void => {
    if (isBehind) closing += count;
    else {
      if (language !== "") flush();
      ticks += count;
    }
  };
  const text = (added: string): void => {
    for (const [run] of added.matchAll(/`+|[^`]+/g)) {
      if (run.startsWith("`")) backticks(run.length);
      else words(run);
      mustFit(blank.length + ticks + language.length + gap.length + closing);
    }
  };

  const told = show;
  show = () => {};
  text(begun);
  flush();
  show = told;

  return {
    text,
    call: () => {
      settle();
      if (ticks >= blockTicks && inBlock) flush();
      isBehind = true;
      gap = "";
    },
    end: () => {
      settle();
      gap = "";
      if (!isBehind || (ticks > 0 && ticks < blockTicks)) flush();
    },
  };
}
