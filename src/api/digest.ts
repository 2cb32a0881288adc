import { orderedJson } from "../agent/json.ts";

/** SHA-256 (hex) over a value's JSON with its keys in order: equal contents have equal digests. */
export const digestOf = (value: unknown): string =>
  new Bun.CryptoHasher("sha256").update(orderedJson(value)).digest("hex");
