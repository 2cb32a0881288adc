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
  const fences = begun.match(/`{3,}/g) ?? [];
  const gaps: Gaps = {
    ...nothing,
    show,
    isShown: begun !== "",
    inBlock: fences.length % 2 === 1,
  };
  return {
    text: (added) => text(gaps, added),
    call: () => {
      settle(gaps);
      if (gaps.ticks >= blockTicks && gaps.inBlock) flush(gaps);
      gaps.isBehind = true;
      gaps.gap = "";
    },
    end: () => {
      settle(gaps);
      gaps.gap = "";
      if (!gaps.isBehind || (gaps.ticks > 0 && gaps.ticks < blockTicks)) flush(gaps);
    },
  };
}

/** What is held back, in this order. */
type Held = {
  /** White space. */
  blank: string;
  /** Number of backticks. */
  ticks: number;
  /** What stands behind these up to the call: a language's name, and then white space. */
  language: string;
  isLanguageOver: boolean;
  /** Behind a call: the white space there, and the number of backticks behind that. */
  isBehind: boolean;
  gap: string;
  closing: number;
};

const nothing: Held = {
  blank: "",
  ticks: 0,
  language: "",
  isLanguageOver: false,
  isBehind: false,
  gap: "",
  closing: 0,
};

type Gaps = Held & {
  readonly show: (text: string) => void;
  /** Something has been. */
  isShown: boolean;
  /** Within a block of code that is shown. */
  inBlock: boolean;
};

function text(gaps: Gaps, added: string): void {
  for (const [run] of added.matchAll(/`+|[^`]+/g)) {
    if (run.startsWith("`")) backticks(gaps, run.length);
    else words(gaps, run);
    const { blank, ticks, language, gap, closing } = gaps;
    mustFit(blank.length + ticks + language.length + gap.length + closing);
  }
}

function give(gaps: Gaps, shown: string): void {
  if (shown === "") return;
  gaps.isShown = true;
  gaps.show(shown);
}

function flush(gaps: Gaps): void {
  const { blank, gap, ticks, language, isBehind, isShown } = gaps;
  const longer = gap.length > blank.length ? gap : blank;
  if (isShown || !isBehind) give(gaps, longer);
  if (ticks > 0) give(gaps, "`".repeat(ticks) + language);
  if (ticks >= blockTicks) gaps.inBlock = !gaps.inBlock;
  Object.assign(gaps, nothing);
}

/** Behind a call backticks have ended: they belong to those before it, or are text. */
function settle(gaps: Gaps): void {
  const { closing, ticks, blank } = gaps;
  if (closing === 0) return;
  if (closing === ticks) Object.assign(gaps, { ...nothing, blank, isBehind: true });
  else {
    flush(gaps);
    gaps.ticks = closing;
  }
}

function backticks(gaps: Gaps, count: number): void {
  if (gaps.isBehind) gaps.closing += count;
  else {
    if (gaps.language !== "") flush(gaps);
    gaps.ticks += count;
  }
}

/** Of text without backticks. */
function words(gaps: Gaps, run: string): void {
  settle(gaps);
  let rest = run;
  if (gaps.isBehind) {
    rest = run.trimStart();
    gaps.gap += run.slice(0, run.length - rest.length);
    if (rest !== "") flush(gaps);
  } else if (gaps.ticks > 0) rest = behindTicks(gaps, run);
  const kept = rest.trimEnd();
  if (kept !== "") {
    flush(gaps);
    give(gaps, kept);
  }
  gaps.blank += rest.slice(kept.length);
}

/** What of `run` is text, behind backticks that may open a block. */
function behindTicks(gaps: Gaps, run: string): string {
  let rest = run;
  if (gaps.ticks >= blockTicks && !gaps.inBlock) {
    if (!gaps.isLanguageOver) {
      const [word = ""] = /^[\w-]*/.exec(rest) ?? [];
      gaps.language += word;
      rest = rest.slice(word.length);
      const isName = gaps.language.length <= languageCharsMax;
      if (rest === "" && isName) return "";
      gaps.isLanguageOver = isName && /^\s/.test(rest);
    }
    if (gaps.isLanguageOver && rest.trim() === "") {
      gaps.language += rest;
      return "";
    }
  }
  flush(gaps);
  return rest;
}
