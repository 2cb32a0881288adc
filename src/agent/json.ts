import { requestLimits } from "../limits.ts";

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;

export type JsonObject = { readonly [key: string]: JsonValue };

export const isJsonObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** How many values there are: this one, and those inside of it at every depth. Infinity: it is nested too deep. */
export function valuesIn(
  value: JsonValue,
  levelsLeft: number = requestLimits.jsonLevelsMax,
): number {
  if (typeof value !== "object" || value === null) return 1;
  if (levelsLeft === 0) return Infinity;
  let values = 1;
  for (const inner of Object.values(value)) values += valuesIn(inner, levelsLeft - 1);
  return values;
}

/** Whether it has more objects and lists in one another than `levelsMax`, by default than a client can be sent. */
export const isTooDeep = (value: JsonValue, levelsMax?: number): boolean =>
  valuesIn(value, levelsMax) === Infinity;

/** A number too large for a computer's, such as 1e999, which JSON cannot be written with. */
export const hasInfinity = (value: JsonValue): boolean =>
  typeof value === "object" && value !== null
    ? Object.values(value).some(hasInfinity)
    : typeof value === "number" && !Number.isFinite(value);

/** A value's JSON with the keys of its objects in order: of equal contents it is the same. */
export const orderedJson = (value: unknown): string => JSON.stringify(value, inOrder);

const inOrder = (_key: string, value: unknown): unknown =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
    : value;
