import { EngramError } from "../../errors.ts";

const wrong = (wanted: string, reply: unknown): EngramError =>
  new EngramError("corrupt", `Redis answered ${typeof reply} where the store expects ${wanted}`);

/** What scripts take for a truth value. */
export const flag = (on: boolean): string => (on ? "1" : "");

/** Nothing is an empty text. */
export const given = (value: string | number | null | undefined): string => `${value ?? ""}`;

/** A string as Redis answered it. Throws `corrupt`. */
export function textOf(reply: unknown): string {
  if (typeof reply === "string") return reply;
  throw wrong("a string", reply);
}

/** A string, or null where there is none. Throws `corrupt`. */
export const textOrNull = (reply: unknown): string | null =>
  reply === null || reply === undefined ? null : textOf(reply);

/** An integer, or a number in digits. Throws `corrupt`. */
export function numberOf(reply: unknown): number {
  const number = typeof reply === "string" && reply !== "" ? Number(reply) : reply;
  if (typeof number === "number" && Number.isFinite(number)) return number;
  throw wrong("a number", reply);
}

/** A hash in hex; what is no hash matches none. */
export const hashOf = (hex: string): Uint8Array =>
  /^(?:[0-9a-f]{2})*$/.test(hex) ? Uint8Array.fromHex(hex) : new Uint8Array();

/** Throws `corrupt`. */
export function listOf(reply: unknown): readonly unknown[] {
  if (Array.isArray(reply)) return reply;
  throw wrong("a list", reply);
}
