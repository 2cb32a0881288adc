import { EngramError } from "../errors.ts";

/**
 * The key of a model server as a header can carry it; null: empty. Fails with invalid_argument, which does not show what is
 * wrong with it.
 */
export function readModelKey(value: string): string | null {
  if (value === "") return null;
  if (/^[\x21-\x7e]+$/.test(value)) return value;
  throw new EngramError(
    "invalid_argument",
    "LLM_API_KEY holds blanks or characters that no key has: it must be one key alone",
  );
}

/** Whether what is sent to that address leaves this machine unencrypted. */
export function isOpenWay(url: string): boolean {
  if (!URL.canParse(url)) return false;
  const { protocol, hostname } = new URL(url);
  return protocol === "http:" && !/^(?:localhost|127\.[\d.]+|\[::1\])$/.test(hostname);
}
