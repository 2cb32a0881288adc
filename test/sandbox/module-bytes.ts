/** Modules byte by byte, for what no assembler writes. */
export const moduleHeader = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];

export const unsigned = (value: number): number[] => {
  const bytes: number[] = [];
  let rest = value;
  do {
    const low = rest % 128;
    rest = Math.floor(rest / 128);
    bytes.push(rest > 0 ? low + 128 : low);
  } while (rest > 0);
  return bytes;
};

export const signed = (value: number): number[] => {
  const bytes: number[] = [];
  let rest = value;
  for (;;) {
    const low = rest & 127;
    rest >>= 7;
    const isLast = (rest === 0 && (low & 64) === 0) || (rest === -1 && (low & 64) !== 0);
    bytes.push(isLast ? low : low | 128);
    if (isLast) return bytes;
  }
};

export const section = (id: number, content: readonly number[]): number[] => [
  id,
  ...unsigned(content.length),
  ...content,
];

export const nameBytes = (text: string): number[] => {
  const bytes = new TextEncoder().encode(text);
  return [...unsigned(bytes.length), ...bytes];
};

/** The bytes of `count` repetitions; large ones must not go through arguments. */
export const repeated = (count: number, bytes: readonly number[]): number[] => {
  const all: number[] = [];
  for (let i = 0; i < count; i++) for (const byte of bytes) all.push(byte);
  return all;
};

type Parts = {
  readonly locals?: readonly number[];
  readonly types?: readonly (readonly number[])[];
  readonly table?: readonly number[];
  readonly globals?: readonly number[];
  readonly exports?: readonly (readonly number[])[];
  readonly start?: number;
  readonly elements?: readonly number[];
  readonly before?: readonly number[];
};

/** One memory of one page and one function () -> (), which is `_start` and has this code. */
export const moduleBytes = (
  code: readonly number[],
  parts: Parts = {},
): Uint8Array<ArrayBuffer> => {
  const { locals = [0], types = [], exports = [] } = parts;
  const body = [locals, code].flat();
  return new Uint8Array(
    [
      moduleHeader,
      parts.before ?? [],
      section(1, [types.length + 1, 0x60, 0, 0, ...types.flat()]),
      section(3, [1, 0]),
      parts.table === undefined ? [] : section(4, parts.table),
      section(5, [1, 0, 1]),
      parts.globals === undefined ? [] : section(6, parts.globals),
      section(7, [
        2 + exports.length,
        ...nameBytes("_start"),
        0,
        0,
        ...nameBytes("memory"),
        2,
        0,
        ...exports.flat(),
      ]),
      parts.start === undefined ? [] : section(8, unsigned(parts.start)),
      parts.elements === undefined ? [] : section(9, parts.elements),
      [10],
      unsigned(1 + unsigned(body.length).length + body.length),
      [1],
      unsigned(body.length),
      body,
    ].flat(),
  );
};

/** A module of these sections only. */
export const rawModule = (...sections: readonly (readonly number[])[]): Uint8Array<ArrayBuffer> =>
  new Uint8Array([moduleHeader, ...sections].flat());

/** The module with a custom section behind it. */
export const withCustomSection = (
  module: Uint8Array,
  name: string,
  content: string,
): Uint8Array<ArrayBuffer> =>
  new Uint8Array([
    ...module,
    ...section(0, [...nameBytes(name), ...new TextEncoder().encode(content)]),
  ]);
