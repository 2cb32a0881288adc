import { clearScreenDown, createInterface, cursorTo, moveCursor } from "node:readline";
import { Writable } from "node:stream";
import { lineColumns } from "../print.ts";

/** The line that a user writes on a terminal, shown while nothing else is written there. */
export type Input = {
  /** Shows it, with what was typed of it so far. */
  show(prompt: string): void;
  /** Takes it away; what is typed meanwhile is kept. */
  hide(): void;
  readonly isShown: boolean;
  /** Gives the terminal back as it was. */
  close(): void;
};

export type Typed = {
  /** A line is finished. It is hidden then. */
  line(text: string, wasShown: boolean): void;
  /** Ctrl-C, Ctrl-D, or a signal. */
  leave(): void;
};

/** Reads from the standard input, which is a terminal; the caller closes it. */
export function openInput({ line, leave }: Typed): Input {
  let isShown = false;
  const output = new Writable({
    write: (chunk, _encoding, done) => {
      if (isShown) process.stdout.write(chunk, () => done());
      else done();
    },
  });
  Object.defineProperty(output, "columns", { get: lineColumns });
  const reader = createInterface({ input: process.stdin, output, terminal: true });
  reader.on("line", (text) => {
    const wasShown = isShown;
    isShown = false;
    line(text, wasShown);
  });
  reader.on("SIGINT", leave);
  reader.on("close", leave);
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, leave);
  const hide = (): void => {
    if (!isShown) return;
    isShown = false;
    moveCursor(process.stdout, 0, -reader.getCursorPos().rows);
    cursorTo(process.stdout, 0);
    clearScreenDown(process.stdout);
  };
  return {
    show: (prompt) => {
      hide();
      isShown = true;
      reader.setPrompt(prompt);
      reader.prompt(true);
    },
    hide,
    get isShown() {
      return isShown;
    },
    close: () => {
      hide();
      reader.off("close", leave);
      reader.close();
    },
  };
}
