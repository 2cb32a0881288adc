import { join } from "node:path";

/** A program on a terminal. */
export type Terminal = AsyncDisposable & {
  type(keys: string): void;
  /** All that was written so far, as the terminal was sent it. */
  readonly raw: string;
  /** The same without colours and the ways of the cursor, with plain line ends. */
  readonly text: string;
  /** Resolves when what is written behind the last find (or at all) matches. Fails where the program ends before. */
  until(pattern: RegExp): Promise<void>;
  /** The exit code. */
  readonly exited: Promise<number>;
};

/** What is not written by then never will be. */
const untilMsMax = 30_000;

/** What a line editor, or a colour, does to a terminal. */
// oxlint-disable-next-line no-control-regex
const sequences = /\u001b\[[\d;]*[GJKm]|\r/g;

/** Starts a program on a pseudo terminal, which is what only another language's standard library has; ends it with the scope. */
export const openTerminal = (
  command: readonly string[],
  env: Readonly<Record<string, string>>,
): Terminal => {
  const script = join(import.meta.dir, "python", "terminal.py");
  const process = Bun.spawn(["python3", "-u", script, ...command], {
    env: { ...env, TERM: "xterm", PYTHONDONTWRITEBYTECODE: "1" },
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
  });
  let raw = "";
  let found = 0;
  let isOver = false;
  let wake = (): void => {};
  const text = (): string => raw.replaceAll(sequences, "");
  const read = async (): Promise<void> => {
    const decoder = new TextDecoder();
    for await (const bytes of process.stdout) {
      raw += decoder.decode(bytes, { stream: true });
      wake();
    }
    isOver = true;
    wake();
  };
  const over = read();
  return {
    type: (keys) => {
      void process.stdin.write(keys);
      void process.stdin.flush();
    },
    get raw() {
      return raw;
    },
    get text() {
      return text();
    },
    until: async (pattern) => {
      const endMs = performance.now() + untilMsMax;
      for (;;) {
        const match = pattern.exec(text().slice(found));
        if (match !== null) {
          found += match.index + match[0].length;
          return;
        }
        const isLate = performance.now() > endMs;
        if (isOver || isLate)
          throw new Error(`no ${pattern} behind ${found} in ${JSON.stringify(text())}`);
        const timer = setTimeout(() => wake(), endMs - performance.now());
        await new Promise<void>((resolve) => (wake = resolve));
        clearTimeout(timer);
      }
    },
    exited: over.then(() => process.exited),
    [Symbol.asyncDispose]: async () => {
      process.kill("SIGKILL");
      await over;
    },
  };
};
