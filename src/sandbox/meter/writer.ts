/** A growing output; `copy` takes over bytes of the module that is metered. */
export type Writer = {
  length: number;
  bytes: Uint8Array;
  readonly source: Uint8Array;
};

export const openWriter = (source: Uint8Array): Writer => ({
  length: 0,
  bytes: new Uint8Array(Math.ceil(source.length * 1.4) + 4096),
  source,
});

const reserve = (out: Writer, count: number): void => {
  if (out.length + count <= out.bytes.length) return;
  const grown = new Uint8Array(Math.max(out.bytes.length * 2, out.length + count));
  grown.set(out.bytes.subarray(0, out.length));
  out.bytes = grown;
};

export const put = (out: Writer, value: number): void => {
  reserve(out, 1);
  out.bytes[out.length++] = value;
};

export const putAll = (out: Writer, values: readonly number[]): void => {
  for (const value of values) put(out, value);
};

/** Short runs are copied byte by byte: between two points there are a few bytes only. */
export const copy = (out: Writer, from: number, to: number): void => {
  const count = to - from;
  if (count <= 0) return;
  reserve(out, count);
  if (count > 48) out.bytes.set(out.source.subarray(from, to), out.length);
  else for (let i = 0; i < count; i++) out.bytes[out.length + i] = out.source[from + i] ?? 0;
  out.length += count;
};

export const putU32 = (out: Writer, value: number): void => {
  let rest = value;
  while (rest > 127) {
    put(out, (rest & 127) | 128);
    rest >>>= 7;
  }
  put(out, rest);
};

/** A signed LEB128 of a value that is not negative. */
export const putSigned = (out: Writer, value: number): void => {
  let rest = value;
  while (rest > 63) {
    put(out, (rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  put(out, rest);
};

const sizeBytes = 5;

/** Writes an unsigned LEB128 of always five bytes at `at`. */
export const writeWide = (bytes: Uint8Array, at: number, value: number): void => {
  let rest = value;
  for (let i = 0; i < sizeBytes - 1; i++) {
    bytes[at + i] = (rest & 127) | 128;
    rest >>>= 7;
  }
  bytes[at + sizeBytes - 1] = rest;
};

/** Leaves room for a five-byte number; gives its place. */
export const putWide = (out: Writer, value: number): number => {
  reserve(out, sizeBytes);
  const at = out.length;
  out.length += sizeBytes;
  writeWide(out.bytes, at, value);
  return at;
};

/** Writes the length of what came since `at`, where `putWide` made room for it. */
export const closeSize = (out: Writer, at: number): void =>
  writeWide(out.bytes, at, out.length - at - sizeBytes);
