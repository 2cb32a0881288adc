import { moduleLimits, toolCeilings } from "../../limits.ts";
import { preview1Module, preview1Signature } from "../preview1.ts";
import {
  type Cursor,
  byte,
  indexBelow,
  name,
  referenceType,
  skip,
  skipSigned,
  u32,
  valueType,
} from "./cursor.ts";
import { ModuleRefused, malformed, overLimit, unsupported } from "./refusal.ts";
import {
  type Limits,
  type ModuleShape,
  externalKind,
  pageBytes,
  section,
  sectionOrder,
} from "./shape.ts";

type Draft = {
  -readonly [K in keyof ModuleShape]: ModuleShape[K] extends readonly (infer T)[]
    ? T[]
    : ModuleShape[K] extends ReadonlyMap<infer A, infer B>
      ? Map<A, B>
      : ModuleShape[K];
};

const externalKinds = ["function", "table", "memory", "global", "tag"] as const;

const reservedPrefix = "__engram_";

const checkHeader = (bytes: Uint8Array): void => {
  const magic = bytes[0] === 0 && bytes[1] === 0x61 && bytes[2] === 0x73 && bytes[3] === 0x6d;
  if (!magic || bytes.length < 8) malformed("it does not start with the bytes 00 61 73 6d");
  if (bytes[4] === 0x0d) {
    malformed("it is a component; Engram runs core modules, build it for WASI preview 1");
  }
  if (bytes[4] !== 1 || bytes[5] !== 0 || bytes[6] !== 0 || bytes[7] !== 0) {
    malformed("its version is not 1");
  }
};

const utf8 = new TextDecoder("utf-8", { fatal: true });

const readCustom = (shape: Draft, cursor: Cursor): void => {
  if (name(cursor) !== "engram.tool") return;
  if (cursor.end - cursor.at > moduleLimits.metadataBytesMax) {
    overLimit(`the section engram.tool is longer than ${moduleLimits.metadataBytesMax} bytes`);
  }
  try {
    shape.toolSection = utf8.decode(cursor.bytes.subarray(cursor.at, cursor.end));
  } catch {
    malformed("the section engram.tool is not UTF-8");
  }
};

const walkSections = (shape: Draft): void => {
  const { bytes } = shape;
  const file: Cursor = { bytes, at: 8, end: bytes.length };
  let last = -1;
  while (file.at < file.end) {
    const id = byte(file);
    const length = u32(file);
    const range = { at: file.at, end: file.at + length };
    skip(file, length);
    if (id === section.custom) {
      readCustom(shape, { bytes, ...range });
      continue;
    }
    const order = sectionOrder.indexOf(id);
    if (order < 0) malformed(`section ${id} is unknown`);
    if (order <= last) malformed(`section ${id} is out of order`);
    last = order;
    shape.sections.set(id, range);
  }
};

/** Reads one section to its very end; an absent one is not read at all. */
const readSection = (
  shape: Draft,
  id: number,
  read: (cursor: Cursor, count: number) => void,
): void => {
  const range = shape.sections.get(id);
  if (range === undefined) return;
  const cursor: Cursor = { bytes: shape.bytes, ...range };
  read(cursor, u32(cursor));
  if (cursor.at !== cursor.end) malformed(`section ${id} does not end where it should`);
};

const countWithin = (count: number, max: number, what: string): void => {
  if (count > max) overLimit(`the module has ${count} ${what}, the limit is ${max}`);
};

const typeLetter = (type: number): string => (type === 0x7f ? "i" : type === 0x7e ? "I" : "?");

const valueTypes = (cursor: Cursor, what: string): string => {
  let count = u32(cursor);
  countWithin(count, moduleLimits.paramsMax, what);
  let letters = "";
  while (count-- > 0) letters += typeLetter(valueType(cursor));
  return letters;
};

const readTypes = (shape: Draft, cursor: Cursor, count: number): void => {
  countWithin(count, moduleLimits.typesMax, "types");
  for (let i = 0; i < count; i++) {
    const form = byte(cursor);
    if (form !== 0x60) unsupported("gc", `type form 0x${form.toString(16)}`);
    const params = valueTypes(cursor, "parameters in one function type");
    const results = valueTypes(cursor, "results in one function type");
    shape.paramCounts.push(params.length);
    shape.signatures.push(`${params}:${results}`);
  }
  shape.typeCount = count;
};

const readImports = (shape: Draft, cursor: Cursor, count: number): void => {
  countWithin(count, moduleLimits.importsMax, "imports");
  for (let i = 0; i < count; i++) {
    const from = name(cursor);
    const what = name(cursor);
    const kind = byte(cursor);
    const label = `${from}.${what}`.slice(0, 200);
    if (kind >= externalKinds.length)
      unsupported("compact imports", `import kind 0x${kind.toString(16)}`);
    if (kind !== externalKind.function) {
      throw new ModuleRefused(
        "import",
        `the module imports a ${externalKinds[kind] ?? "thing"} (${label}); only functions of ${preview1Module} can be imported`,
      );
    }
    const type = indexBelow(cursor, shape.typeCount, "type");
    const signature = from === preview1Module ? preview1Signature(what) : undefined;
    if (signature === undefined) {
      throw new ModuleRefused(
        "import",
        `the module imports ${label}, which Engram does not provide; only functions of ${preview1Module} can be imported`,
      );
    }
    if (signature !== shape.signatures[type]) {
      throw new ModuleRefused("import", `the module imports ${label} with a wrong type`);
    }
    shape.imports.push(what);
    shape.functionTypes.push(type);
  }
  shape.importedCount = count;
};

const readFunctions = (shape: Draft, cursor: Cursor, count: number): void => {
  countWithin(count, moduleLimits.functionsMax, "functions");
  for (let i = 0; i < count; i++) {
    shape.functionTypes.push(indexBelow(cursor, shape.typeCount, "type"));
  }
};

const readLimits = (cursor: Cursor, what: string): Limits => {
  const at = cursor.at;
  const flags = byte(cursor);
  if ((flags & 2) !== 0) unsupported("threads", `shared ${what}`);
  if ((flags & 4) !== 0) unsupported("memory64", `64-bit ${what}`);
  if (flags > 1) unsupported("custom page sizes", what);
  const min = u32(cursor);
  const max = flags === 1 ? u32(cursor) : Infinity;
  return { min, max, at, end: cursor.at };
};

const readTables = (shape: Draft, cursor: Cursor, count: number): void => {
  countWithin(count, moduleLimits.tablesMax, "tables");
  let entries = 0;
  for (let i = 0; i < count; i++) {
    if (cursor.bytes[cursor.at] === 0x40) unsupported("gc", "a table with an initialiser");
    referenceType(cursor);
    const limits = readLimits(cursor, "table");
    entries += limits.min;
    shape.tables.push(limits);
  }
  countWithin(entries, moduleLimits.tableEntriesMax, "table entries at its start");
};

const readMemory = (shape: Draft, cursor: Cursor, count: number): void => {
  if (count > 1) unsupported("multi-memory", `${count} memories`);
  if (count !== 1) return;
  shape.memory = readLimits(cursor, "memory");
  countWithin(
    shape.memory.min * pageBytes,
    toolCeilings.memoryBytes,
    "bytes of memory at its start",
  );
};

const readExports = (shape: Draft, cursor: Cursor, count: number): void => {
  countWithin(count, moduleLimits.exportsMax, "exports");
  for (let i = 0; i < count; i++) {
    const what = name(cursor);
    const kind = byte(cursor);
    const index = u32(cursor);
    if (what.startsWith(reservedPrefix)) {
      throw new ModuleRefused(
        "export",
        `the module exports ${what.slice(0, 200)}, a reserved name`,
      );
    }
    const known = kind === externalKind.function ? shape.functionTypes.length : shape.globalCount;
    if ((kind === externalKind.function || kind === externalKind.global) && index >= known) {
      malformed(`the export ${what.slice(0, 200)} does not exist`);
    }
    if (kind === externalKind.function) shape.reachable[index] = 1;
    shape.exports.set(what, { kind, index });
  }
};

/** Opcodes of constant expressions without an immediate: `end` is not among them. */
const constantArithmetic: ReadonlySet<number> = new Set([0x6a, 0x6b, 0x6c, 0x7c, 0x7d, 0x7e]);

const readConstant = (shape: Draft, cursor: Cursor): void => {
  for (;;) {
    const opcode = byte(cursor);
    if (opcode === 0x0b) return;
    if (opcode === 0x41) skipSigned(cursor, 5);
    else if (opcode === 0x42) skipSigned(cursor, 10);
    else if (opcode === 0x43) skip(cursor, 4);
    else if (opcode === 0x44) skip(cursor, 8);
    else if (opcode === 0x23) indexBelow(cursor, shape.globalCount, "global");
    else if (opcode === 0xd0) referenceType(cursor);
    else if (opcode === 0xd2)
      shape.reachable[indexBelow(cursor, shape.functionTypes.length, "function")] = 1;
    else if (opcode === 0xfd && u32(cursor) === 12) skip(cursor, 16);
    else if (!constantArithmetic.has(opcode)) {
      unsupported("gc", `constant instruction 0x${opcode.toString(16)}`);
    }
  }
};

const readGlobals = (shape: Draft, cursor: Cursor, count: number): void => {
  for (let i = 0; i < count; i++) {
    valueType(cursor);
    if (byte(cursor) > 1) malformed("a global is neither constant nor variable");
    readConstant(shape, cursor);
  }
};

/** An entry one past the last function would be an accessor of the fuel. */
const readElements = (shape: Draft, cursor: Cursor, count: number): void => {
  countWithin(count, moduleLimits.segmentsMax, "element segments");
  for (let i = 0; i < count; i++) {
    const flags = u32(cursor);
    if (flags > 7) malformed("an element segment has an unknown form");
    const isActive = (flags & 1) === 0;
    const holdsExpressions = (flags & 4) !== 0;
    if (isActive) {
      if ((flags & 2) !== 0) indexBelow(cursor, shape.tables.length, "table");
      readConstant(shape, cursor);
    }
    if ((flags & 3) !== 0) {
      if (holdsExpressions) referenceType(cursor);
      else if (byte(cursor) !== 0) malformed("an element segment has an unknown kind");
    }
    let entries = u32(cursor);
    while (entries-- > 0) {
      if (holdsExpressions) readConstant(shape, cursor);
      else shape.reachable[indexBelow(cursor, shape.functionTypes.length, "function")] = 1;
    }
  }
};

/** A section that only has to be counted here; the engine's validator reads it. */
const countSection = (shape: Draft, id: number, max: number, what: string): number => {
  const range = shape.sections.get(id);
  if (range === undefined) return 0;
  const count = u32({ bytes: shape.bytes, ...range });
  countWithin(count, max, what);
  return count;
};

/** Decodes everything but the code; throws ModuleRefused. */
export const readSections = (bytes: Uint8Array): ModuleShape => {
  countWithin(bytes.length, moduleLimits.bytesMax, "bytes");
  checkHeader(bytes);
  const shape: Draft = {
    bytes,
    sections: new Map(),
    toolSection: null,
    typeCount: 0,
    paramCounts: [],
    signatures: [],
    imports: [],
    importedCount: 0,
    functionTypes: [],
    tables: [],
    memory: null,
    globalCount: 0,
    tagCount: 0,
    exports: new Map(),
    start: null,
    reachable: new Uint8Array(0),
  };
  walkSections(shape);
  const read = (id: number, reader: (s: Draft, cursor: Cursor, count: number) => void): void =>
    readSection(shape, id, (cursor, count) => reader(shape, cursor, count));
  read(section.type, readTypes);
  read(section.import, readImports);
  read(section.function, readFunctions);
  shape.reachable = new Uint8Array(shape.functionTypes.length);
  read(section.table, readTables);
  read(section.memory, readMemory);
  shape.tagCount = countSection(shape, section.tag, moduleLimits.tagsMax, "tags");
  shape.globalCount = countSection(shape, section.global, moduleLimits.globalsMax, "globals");
  read(section.global, readGlobals);
  read(section.export, readExports);
  readSection(shape, section.start, (_, index) => {
    if (index >= shape.functionTypes.length) malformed("the start function does not exist");
    shape.start = index;
    shape.reachable[index] = 1;
  });
  read(section.element, readElements);
  countSection(shape, section.data, moduleLimits.segmentsMax, "data segments");
  return shape;
};
