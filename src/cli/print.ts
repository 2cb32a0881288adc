import { cliLimits } from "./cli-limits.ts";

/** Writes to the standard output; resolves when it is written: a pipe that is read slowly holds the caller up, and the process ends soon. */
export const print = (content: string | Uint8Array): Promise<void> =>
  new Promise((done, fail) => {
    process.stdout.write(content, (error) => (error ? fail(error) : done()));
  });

/** How long a line may be: as wide as the terminal is. Some terminals do not know it; in a pipe there is no such width. */
export const lineColumns = (): number =>
  process.stdout.isTTY
    ? process.stdout.columns || cliLimits.lineCharsLeast
    : cliLimits.lineCharsMax;
