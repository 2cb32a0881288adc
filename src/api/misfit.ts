import {
  type DescField,
  type DescMessage,
  fromJson,
  type JsonObject as WireObject,
  type JsonValue as WireValue,
  ScalarType,
} from "@bufbuild/protobuf";
import { messageOf } from "../errors.ts";

/** As deep as protobuf's parser goes. */
const depthMax = 100;

type Reading = {
  /** Where the message stands itself; "": it is the whole. */
  readonly path: string;
  /** Fields that the message does not have are passed over. */
  readonly ignoresUnknown: boolean;
};

/**
 * What of a message's JSON its parser refuses: the innermost field by its place in the proto's names, and what it takes.
 * null: no field is wrong by itself.
 */
export function misfitIn(message: DescMessage, value: WireValue, reading: Reading): string | null {
  return misfitUnder({ ...reading, message, depth: 0 }, value);
}

export const isObject = (value: WireValue | undefined): value is WireObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Of a message with a field for each of its parts; others, such as a Duration or a Struct, are one value in JSON. */
export const hasParts = (message: DescMessage): boolean =>
  !message.typeName.startsWith("google.protobuf.");

/** A message in its place. */
type Spot = Reading & { readonly message: DescMessage; readonly depth: number };

function misfitUnder(spot: Spot, value: WireValue): string | null {
  const { message, path } = spot;
  if (!isObject(value)) return refused(path, value, "an object");
  const seen = new Set<DescField>();
  const chosen = new Map<string, DescField>();
  for (const [name, item] of Object.entries(value)) {
    const field = message.fields.find((one) => one.name === name || one.jsonName === name);
    const at = inside(path, field?.name ?? name);
    if (field === undefined && spot.ignoresUnknown) continue;
    if (field === undefined) return `${at} is no field of the message`;
    if (seen.has(field)) return `${at} is there in two spellings: send one of them`;
    seen.add(field);
    if (field.oneof !== undefined) {
      const other = chosen.get(field.oneof.name);
      if (other !== undefined)
        return `${at} is there beside ${inside(path, other.name)}: send one of them`;
      chosen.set(field.oneof.name, field);
    }
    const misfit = misfitOf(spot, field, item);
    if (misfit !== null) return misfit;
  }
  return null;
}

/** null is what a field looks like that is not there. */
function misfitOf(spot: Spot, field: DescField, value: WireValue): string | null {
  if (value === null) return null;
  const at = inside(spot.path, field.name);
  if (field.fieldKind === "list" && !Array.isArray(value)) return refused(at, value, "a list");
  if (field.fieldKind === "map" && !isObject(value)) return refused(at, value, "an object");
  for (const single of singles(field, at, value)) {
    const misfit = misfitOfSingle(spot, field, single);
    if (misfit !== null) return misfit;
  }
  return null;
}

/** One value of a field, in its place and as the field has it where it is the only one. */
type Single = { readonly at: string; readonly value: WireValue; readonly alone: WireValue };

function* singles(field: DescField, at: string, all: WireValue): Generator<Single> {
  if (field.fieldKind === "list" && Array.isArray(all))
    for (const [index, value] of all.entries())
      yield { at: `${at}[${index}]`, value, alone: [value] };
  else if (field.fieldKind === "map" && isObject(all))
    for (const [key, value] of Object.entries(all))
      yield { at: inside(at, key), value, alone: { [key]: value } };
  else yield { at, value: all, alone: all };
}

function misfitOfSingle(
  { message, depth, ignoresUnknown }: Spot,
  field: DescField,
  { at, value, alone }: Single,
): string | null {
  const deeper = { path: at, depth: depth + 1, ignoresUnknown };
  if (field.message !== undefined && hasParts(field.message))
    return misfitUnder({ ...deeper, message: field.message }, value);
  try {
    fromJson(message, { [field.name]: alone }, { recursionLimit: depthMax - depth });
    return null;
  } catch (cause) {
    const what = taken(field);
    // A Struct may only be too deep.
    return what === "an object" && isObject(value)
      ? `${at} does not fit: ${messageOf(cause)}`
      : refused(at, value, what);
  }
}

const inside = (path: string, name: string): string => (path === "" ? name : `${path}.${name}`);

const refused = (path: string, value: WireValue, what: string): string =>
  `${path === "" ? "the message" : path} is ${shown(value)}; it takes ${what}`;

const shownCharsMax = 60;

function shown(value: WireValue): string {
  if (Array.isArray(value)) return "a list";
  if (isObject(value)) return "an object";
  if (typeof value !== "string") return String(value);
  const isLong = value.length > shownCharsMax;
  return JSON.stringify(value.slice(0, shownCharsMax)) + (isLong ? " and so on" : "");
}

/** What a value of the field is in JSON, in words. */
function taken(field: DescField): string {
  if (field.message !== undefined) return takenAs(field.message);
  if (field.scalar === undefined) return "one of its names";
  switch (field.scalar) {
    case ScalarType.STRING:
      return "a text in Unicode";
    case ScalarType.BYTES:
      return "a text in base64";
    case ScalarType.BOOL:
      return "true or false";
    case ScalarType.FLOAT:
    case ScalarType.DOUBLE:
      return "a number";
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return "a whole number of 32 bits";
    default:
      return "a whole number of 64 bits";
  }
}

function takenAs({ typeName }: DescMessage): string {
  switch (typeName) {
    case "google.protobuf.Duration":
      return 'a duration in seconds, such as "1.5s"';
    case "google.protobuf.Timestamp":
      return 'a time, such as "2026-01-31T12:00:00Z"';
    default:
      return "an object";
  }
}
