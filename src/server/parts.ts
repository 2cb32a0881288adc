import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { requestLimits } from "../limits.ts";

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

/** Throws RESOURCE_EXHAUSTED where a text in JSON has too many values. What is no JSON is for its parser to say. */
export function mustHaveFewValues(json: Uint8Array): void {
  let values = 0;
  for (let at = 0; at < json.length; at++) {
    const byte = json[at] ?? 0;
    if (byte === quote) at = endOfString(json, at);
    else if (beginnings.has(byte) && ++values > requestLimits.messagePartsMax) throw tooMany();
  }
}

/** The place of the closing quote. */
function endOfString(json: Uint8Array, opening: number): number {
  let at = opening + 1;
  while (at < json.length && json[at] !== quote) at += json[at] === backslash ? 2 : 1;
  return at;
}

/** Throws RESOURCE_EXHAUSTED where a binary message has too many fields. What cannot be read is for its parser to say. */
export function mustHaveFewFields(type: DescMessage, bytes: Uint8Array): void {
  const left = countDown(type, bytes, requestLimits.messagePartsMax, 0);
  if (left < 0) throw tooMany();
}

/** As deep as the parser goes. */
const depthMax = 100;

/** `left` without the fields of this message; below 0: too many. */
function countDown(type: DescMessage, bytes: Uint8Array, left: number, depth: number): number {
  const reader = { bytes, at: 0 };
  let rest = left;
  while (reader.at < bytes.length && rest >= 0) {
    rest -= 1;
    const tag = varint(reader);
    switch (tag & 7) {
      case 0:
        varint(reader);
        break;
      case 1:
        reader.at += 8;
        break;
      case 5:
        reader.at += 4;
        break;
      case 2: {
        const length = varint(reader);
        const content = bytes.subarray(reader.at, reader.at + length);
        reader.at += length;
        const field = fieldOf(type, tag >>> 3);
        if (field !== undefined && depth < depthMax)
          rest = countField(field, content, rest, depth + 1);
        break;
      }
      default:
        return rest;
    }
  }
  return rest;
}

function countField(field: DescField, content: Uint8Array, left: number, depth: number): number {
  switch (field.fieldKind) {
    case "message":
      return countDown(field.message, content, left, depth);
    case "map":
      return field.mapKind === "message" ? countEntry(field.message, content, left, depth) : left;
    case "list":
      if (field.listKind === "message") return countDown(field.message, content, left, depth);
      return isText(field.scalar) ? left : left - content.length;
    default:
      return left;
  }
}

/** Many numbers come packed into one field; of texts each has its own. */
const isText = (scalar: ScalarType | undefined): boolean =>
  scalar === ScalarType.STRING || scalar === ScalarType.BYTES;

/** An entry is a message of a key and a value. */
function countEntry(value: DescMessage, entry: Uint8Array, left: number, depth: number): number {
  const reader = { bytes: entry, at: 0 };
  let rest = left;
  while (reader.at < entry.length && rest >= 0) {
    const tag = varint(reader);
    if ((tag & 7) !== 2) return rest;
    const length = varint(reader);
    const content = entry.subarray(reader.at, reader.at + length);
    reader.at += length;
    rest -= 1;
    if (tag >>> 3 === 2) rest = countDown(value, content, rest, depth);
  }
  return rest;
}

const fieldsByNumber = new WeakMap<DescMessage, ReadonlyMap<number, DescField>>();

function fieldOf(type: DescMessage, number: number): DescField | undefined {
  let fields = fieldsByNumber.get(type);
  if (fields === undefined) {
    fields = new Map(type.fields.map((field) => [field.number, field]));
    fieldsByNumber.set(type, fields);
  }
  return fields.get(number);
}

/** Of the numbers that matter here, which fit 32 bits; of longer ones the low bits. */
function varint(reader: { readonly bytes: Uint8Array; at: number }): number {
  let value = 0;
  for (let shift = 0; shift < 70; shift += 7) {
    const byte = reader.bytes[reader.at++] ?? 0;
    if (shift < 32) value |= (byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  return value >>> 0;
}
