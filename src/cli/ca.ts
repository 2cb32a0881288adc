import { EngramError, messageOf } from "../errors.ts";

/** What REDIS_CA names; null: nothing. Fails with invalid_argument where it cannot be read. */
export async function readCa(path: string | null): Promise<string | null> {
  if (path === null) return null;
  try {
    return await Bun.file(path).text();
  } catch (cause) {
    const message = `REDIS_CA names ${path}, which cannot be read: ${messageOf(cause)}`;
    throw new EngramError("invalid_argument", message, { cause });
  }
}
