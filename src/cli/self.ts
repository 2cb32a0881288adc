/** Whether this is the built binary, and not a checkout run by bun. */
const isBinary = Bun.main.startsWith("/$bunfs/") || Bun.main.includes("~BUN");

/** How this same program is started again. */
export const selfCommand: readonly string[] = isBinary
  ? [process.execPath]
  : [process.execPath, Bun.main];

/** How a child of the sandbox is started. */
export const childCommand: readonly string[] = [...selfCommand, "__sandbox"];
