import { closeSync, openSync } from "node:fs";

/**
 * Makes an empty file that only its owner can read, where none is: SQLite makes its own as the umask lets, and its side
 * files as the database is. One that is there is not opened, since closing it would give up this process's locks on it.
 */
export function makePrivate(path: string): void {
  try {
    closeSync(openSync(path, "ax", 0o600));
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  }
}
