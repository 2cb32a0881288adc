import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { requestLimits } from "../limits.ts";
import { roomLimits } from "./room-limits.ts";

/*
 * A message of 4 MiB can have two million fields, and parsing each takes a microsecond or more, in which nobody else is
 * served. So its parts are counted before it is parsed, which takes a nanosecond a byte and stops at the limit.
 */

const tooMany = (): ConnectError =>
  new ConnectError(
    `the message has more than ${requestLimits.messagePartsMax} fields, entries and items: split it, or put what is large into one string`,
    Code.ResourceExhausted,
  );

const quote = 0x22;
const backslash = 0x5c;
/** What begins a further value: , [ { */
const beginnings: ReadonlySet<number> = new Set([0x2c, 0x5b, 0x7b]);

/**
 * Looks at a text in JSON as it grows: each time at all of it, which begins as the time before. Throws
 * RESOURCE_EXHAUSTED where it has too many values, or a number that nobody means. What is no JSON is for its parser to say.
 */
export function makeValueCount(): (json: Uint8Array) => void {
  let values = 0;
  let at = 0;
  /** Where the string begins that is being looked at. */
  let opening: number | null = null;
  return (json) => {
    while (at < json.length) {
      if (opening !== null) {
        at = endOfString(json, at);
        if (at >= json.length) return;
        if (at - opening > roomLimits.digitsMax) mustHaveFewDigits(json.subarray(opening, at));
        opening = null;
      } else {
        const byte = json[at] ?? 0;
        if (byte === quote) opening = at;
        else if (beginnings.has(byte) && ++values > requestLimits.messagePartsMax) throw tooMany();
      }
      at++;
    }
  };
}

/** The same of a text that is whole. */
export const mustHaveFewValues = (json: Uint8Array): void => makeValueCount()(json);

const isDigit = (byte: number | undefined): boolean =>
  byte !== undefined && byte >= 0x30 && byte <= 0x39;

/** In JSON a text may be meant as a number of 64 bits, and is read as one before it is found to have more. */
function mustHaveFewDigits(text: Uint8Array): void {
  const { digitsMax } = roomLimits;
  // A longer row stands at one of these places.
  for (let at = digitsMax; at < text.length; at += digitsMax) {
    let begin = at;
    while (isDigit(text[begin - 1])) begin--;
    let end = at;
    while (isDigit(text[end])) end++;
    if (end - begin > digitsMax)
      throw new ConnectError(
        `the message has a number of more than ${digitsMax} digits; a text of so many may be sent in binary form`,
        Code.ResourceExhausted,
      );
  }
}

/** The place of the closing quote, from `from` on; where it has not come, that of the first byte not looked at. */
function endOfString(json: Uint8Array, from: number): number {
  let at = from;
  while (at < json.length && json[at] !== quote) at += json[at] === backslash ? 2 : 1;
  return at;
}

/**
 * Throws RESOURCE_EXHAUSTED where a binary message has too many fields, and INVALID_ARGUMENT where its parser would take
 * it for another message than the one that is counted: it trusts a field to have its type, and to end with its message.
 */
export function mustHaveFewFields(type: DescMessage, bytes: Uint8Array): void {
  const reader = { bytes, at: 0, left: requestLimits.messagePartsMax };
  count(reader, fieldsOf(type), bytes.length, 1);
}

type Reader = { readonly bytes: Uint8Array; at: number; left: number };

/** How values are told apart on the wire. */
const wires = { varint: 0, eightBytes: 1, sized: 2, group: 3, groupEnd: 4, fourBytes: 5 } as const;

type Field = {
  readonly wire: number;
  /** Many may come packed into one. */
  readonly isPackable: boolean;
  /** Of a message, or of a map's entry. */
  readonly inside: (() => Fields) | null;
  /** By how much deeper what is inside stands for the parser. */
  readonly deeper: 0 | 1;
};
type Fields = ReadonlyMap<number, Field>;

/** As deep as the parser goes. */
const depthMax = 100;

const malformed = (why: string): ConnectError =>
  new ConnectError(`the request message is not valid protobuf: ${why}`, Code.InvalidArgument);

/** Takes the fields up to `end` from what is left. */
function count(reader: Reader, fields: Fields, end: number, depth: number): void {
  if (depth > depthMax) throw malformed(`it is nested more than ${depthMax} deep`);
  if (end > reader.bytes.length) throw malformed("it is cut off");
  /** Nobody knows what is in a group. */
  let groups = 0;
  while (reader.at < end) {
    if (--reader.left < 0) throw tooMany();
    const tag = varint(reader);
    const wire = tag & 7;
    const field = groups === 0 ? fields.get(tag >>> 3) : undefined;
    if (field !== undefined) countField(reader, field, wire, depth);
    else if (wire === wires.group) groups += 1;
    else if (wire === wires.groupEnd) groups -= 1;
    else skip(reader, wire);
    if (groups < 0) throw malformed("a group ends that has not begun");
  }
  if (reader.at !== end || groups > 0) throw malformed("a field ends behind its message");
}

function countField(reader: Reader, field: Field, wire: number, depth: number): void {
  if (wire === wires.sized && field.inside !== null) {
    const length = varint(reader);
    count(reader, field.inside(), reader.at + length, depth + field.deeper);
  } else if (wire === field.wire) skip(reader, wire);
  else if (wire === wires.sized && field.isPackable) countPacked(reader, field.wire);
  else throw malformed("a field has the type of another");
}

function countPacked(reader: Reader, wire: number): void {
  const length = varint(reader);
  const end = reader.at + length;
  if (end > reader.bytes.length) throw malformed("it is cut off");
  while (reader.at < end) {
    if (--reader.left < 0) throw tooMany();
    skip(reader, wire);
  }
  if (reader.at !== end) throw malformed("a field ends behind its list");
}

function skip(reader: Reader, wire: number): void {
  if (wire === wires.varint) varint(reader);
  else if (wire === wires.eightBytes) reader.at += 8;
  else if (wire === wires.fourBytes) reader.at += 4;
  else if (wire === wires.sized) {
    const length = varint(reader);
    reader.at += length;
  } else throw malformed(`there is no wire type ${wire}`);
}

/** Of lengths and tags, which fit 32 bits; of longer ones the low bits. */
function varint(reader: Reader): number {
  let value = 0;
  for (let shift = 0; shift < 70; shift += 7) {
    const byte = reader.bytes[reader.at++] ?? 0;
    if (shift < 32) value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return value >>> 0;
  }
  throw malformed("a number has more than ten bytes");
}

const fieldsByType = new WeakMap<DescMessage, Fields>();

function fieldsOf(type: DescMessage): Fields {
  const known = fieldsByType.get(type);
  if (known !== undefined) return known;
  const fields = new Map(type.fields.map((field) => [field.number, fieldOf(field)]));
  fieldsByType.set(type, fields);
  return fields;
}

function fieldOf(field: DescField): Field {
  switch (field.fieldKind) {
    case "message":
      return messageOf(field.message);
    case "map":
      return mapOf(field);
    case "list":
      if (field.listKind === "message") return messageOf(field.message);
      return numberOrText(field.scalar, true);
    default:
      return numberOrText(field.scalar, false);
  }
}

const messageOf = (type: DescMessage): Field => ({
  wire: wires.sized,
  isPackable: false,
  inside: () => fieldsOf(type),
  deeper: 1,
});

/** An entry is a message of a key and a value, though not for the parser. */
function mapOf(field: DescField & { fieldKind: "map" }): Field {
  const value =
    field.mapKind === "message" ? messageOf(field.message) : numberOrText(field.scalar, false);
  const entry = new Map([
    [1, numberOrText(field.mapKey, false)],
    [2, value],
  ]);
  return { wire: wires.sized, isPackable: false, inside: () => entry, deeper: 0 };
}

/** Undefined: an enum's. */
function numberOrText(scalar: ScalarType | undefined, isList: boolean): Field {
  const wire = wireOf(scalar);
  return { wire, isPackable: isList && wire !== wires.sized, inside: null, deeper: 0 };
}

function wireOf(scalar: ScalarType | undefined): number {
  switch (scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return wires.sized;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return wires.eightBytes;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return wires.fourBytes;
    default:
      return wires.varint;
  }
}
