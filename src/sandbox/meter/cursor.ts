import { malformed, unsupported } from "./refusal.ts";

/** A place in the module that is read from; `end` is the first byte that is not part of it. */
export type Cursor = { readonly bytes: Uint8Array; at: number; readonly end: number };

export const byte = (cursor: Cursor): number => {
  const value = cursor.at < cursor.end ? cursor.bytes[cursor.at] : undefined;
  if (value === undefined) return malformed("it is cut off");
  cursor.at++;
  return value;
};

/** LEB128, at most 5 bytes, no bit beyond 32. */
export const u32 = (cursor: Cursor): number => {
  let result = 0;
  let scale = 1;
  for (let i = 0; i < 5; i++) {
    const value = byte(cursor);
    if (i === 4 && value > 15) return malformed("an integer is too large");
    result += (value & 127) * scale;
    if (value < 128) return result;
    scale *= 128;
  }
  return malformed("an integer is too long");
};

/** Passes over a signed LEB128 of at most `bytesMax` bytes; the engine's validator checks its value. */
export const skipSigned = (cursor: Cursor, bytesMax: number): void => {
  for (let i = 0; i < bytesMax; i++) if (byte(cursor) < 128) return;
  malformed("an integer is too long");
};

export const skip = (cursor: Cursor, count: number): void => {
  if (count > cursor.end - cursor.at) malformed("it is cut off");
  cursor.at += count;
};

/** An index into something the module has `count` of: one past the end would reach what metering appends. */
export const indexBelow = (cursor: Cursor, count: number, what: string): number => {
  const index = u32(cursor);
  return index < count ? index : malformed(`${what} index ${index} does not exist`);
};

const utf8 = new TextDecoder("utf-8", { fatal: true });

export const name = (cursor: Cursor): string => {
  const length = u32(cursor);
  const from = cursor.at;
  skip(cursor, length);
  try {
    return utf8.decode(cursor.bytes.subarray(from, cursor.at));
  } catch {
    return malformed("a name is not UTF-8");
  }
};

const i32 = 0x7f;
const v128 = 0x7b;
const funcref = 0x70;
const externref = 0x6f;
const exnref = 0x69;

const isReferenceType = (type: number): boolean =>
  type === funcref || type === externref || type === exnref;

export const isValueType = (type: number): boolean =>
  (type >= v128 && type <= i32) || isReferenceType(type);

export const valueType = (cursor: Cursor): number => {
  const type = byte(cursor);
  return isValueType(type) ? type : unsupported("gc", `value type 0x${type.toString(16)}`);
};

export const referenceType = (cursor: Cursor): number => {
  const type = byte(cursor);
  return isReferenceType(type) ? type : unsupported("gc", `reference type 0x${type.toString(16)}`);
};
