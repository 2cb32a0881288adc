/**
 * What engine and child say to each other over the child's stdin and stdout. A frame is two u32 (little endian), the
 * lengths of header and body, then the header, a JSON object, and the body, bytes.
 */
import { type JsonObject, type JsonValue, isJsonObject } from "../agent/json.ts";
import { sandboxLimits } from "../limits.ts";

export type Frame = { readonly header: JsonObject; readonly body: Uint8Array };

export const prefixBytes = 8;

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder();
const noBody = new Uint8Array(0);

export const encodeFrame = (header: JsonObject, body: Uint8Array = noBody): Uint8Array => {
  const head = utf8.encode(JSON.stringify(header));
  const frame = new Uint8Array(prefixBytes + head.length + body.length);
  const prefix = new DataView(frame.buffer);
  prefix.setUint32(0, head.length, true);
  prefix.setUint32(4, body.length, true);
  frame.set(head, prefixBytes);
  frame.set(body, prefixBytes + head.length);
  return frame;
};

/** The lengths that a prefix announces; throws where they are beyond any frame's. */
export const readPrefix = (
  prefix: Uint8Array,
): { readonly head: number; readonly body: number } => {
  const view = new DataView(prefix.buffer, prefix.byteOffset, prefixBytes);
  const head = view.getUint32(0, true);
  const body = view.getUint32(4, true);
  if (head + body > sandboxLimits.frameBytesMax) throw new Error("a frame is too long");
  return { head, body };
};

/** Takes head and body apart; the body is a view of `bytes`. */
export const decodeFrame = (bytes: Uint8Array, head: number): Frame => {
  const header: unknown = JSON.parse(fromUtf8.decode(bytes.subarray(0, head)));
  if (!isJsonObject(header)) throw new Error("a frame's header is not an object");
  return { header, body: bytes.subarray(head) };
};

const wrong = (key: string): never => {
  throw new Error(`a frame's ${key} is missing or of a wrong type`);
};

export const textOf = (header: JsonObject, key: string): string => {
  const value = header[key];
  return typeof value === "string" ? value : wrong(key);
};

export const numberOf = (header: JsonObject, key: string): number => {
  const value = header[key];
  return typeof value === "number" ? value : wrong(key);
};

export const textsOf = (header: JsonObject, key: string): readonly string[] => {
  const value: JsonValue | undefined = header[key];
  if (!Array.isArray(value)) return wrong(key);
  return value.map((item: unknown) => (typeof item === "string" ? item : wrong(key)));
};

/** null and absent are the same. */
export const optional = <T>(
  header: JsonObject,
  key: string,
  read: (header: JsonObject, key: string) => T,
): T | null => (header[key] === null || header[key] === undefined ? null : read(header, key));

export const objectOf = (header: JsonObject, key: string): JsonObject => {
  const value = header[key];
  return isJsonObject(value) ? value : wrong(key);
};
