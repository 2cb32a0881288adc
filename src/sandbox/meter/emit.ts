import type { Body } from "./body.ts";
import { u32 } from "./cursor.ts";
import { emitBody } from "./emit-body.ts";
import type { LeafCosts } from "./plan.ts";
import {
  type Limits,
  type ModuleShape,
  externalKind,
  hostExport,
  section,
  sectionOrder,
} from "./shape.ts";
import {
  type Writer,
  closeSize,
  copy,
  openWriter,
  put,
  putAll,
  putU32,
  putWide,
} from "./writer.ts";

const typeI32 = 0x7f;
const typeI64 = 0x7e;
const functionForm = 0x60;
const hasMax = 1;
/** All of the 32-bit address space. */
const pagesMax = 65_536;

/** Types that metering appends, in this order. */
const addedTypes: readonly (readonly number[])[] = [
  [functionForm, 0, 1, typeI64],
  [functionForm, 1, typeI64, 0],
  [functionForm, 0, 1, typeI32],
];

export type Emitted = {
  readonly bytes: Uint8Array;
  /** Where the memory's maximum stands, a five-byte number; null: there is no memory. */
  readonly memoryMaxAt: number | null;
};

type ModuleWriter = {
  readonly out: Writer;
  readonly shape: ModuleShape;
  readonly bodies: readonly Body[];
  readonly leaves: LeafCosts;
  memoryMaxAt: number | null;
};

/** Writes a section's number of entries raised by `added`, and its old entries. */
const copyEntries = ({ out, shape }: ModuleWriter, id: number, added: number): void => {
  const range = shape.sections.get(id);
  if (range === undefined) return putU32(out, added);
  const cursor = { bytes: shape.bytes, ...range };
  putU32(out, u32(cursor) + added);
  copy(out, cursor.at, range.end);
};

const emitTypes = (w: ModuleWriter): void => {
  copyEntries(w, section.type, addedTypes.length);
  for (const type of addedTypes) putAll(w.out, type);
};

const emitFunctions = (w: ModuleWriter): void => {
  copyEntries(w, section.function, addedTypes.length);
  for (let i = 0; i < addedTypes.length; i++) putU32(w.out, w.shape.typeCount + i);
};

const emitLimited = (
  w: ModuleWriter,
  id: number,
  all: readonly Limits[],
  putMax: (limits: Limits) => void,
): void => {
  const range = w.shape.sections.get(id);
  if (range === undefined) return;
  const cursor = { bytes: w.shape.bytes, ...range };
  putU32(w.out, u32(cursor));
  let copied = cursor.at;
  for (const limits of all) {
    copy(w.out, copied, limits.at);
    put(w.out, hasMax);
    putU32(w.out, limits.min);
    putMax(limits);
    copied = limits.end;
  }
  copy(w.out, copied, range.end);
};

const emitTables = (w: ModuleWriter): void =>
  emitLimited(w, section.table, w.shape.tables, ({ min }) => putU32(w.out, min));

const emitMemory = (w: ModuleWriter): void =>
  emitLimited(w, section.memory, w.shape.memory === null ? [] : [w.shape.memory], ({ max }) => {
    w.memoryMaxAt = putWide(w.out, Math.min(max, pagesMax));
  });

/** The counters, behind all globals of the module: nothing in it can name them (invariant 8). */
const emitGlobals = (w: ModuleWriter): void => {
  copyEntries(w, section.global, 2);
  putAll(w.out, [typeI64, 1, 0x42, 0, 0x0b]);
  putAll(w.out, [typeI32, 1, 0x41, 0, 0x0b]);
};

const utf8 = new TextEncoder();

const putExport = (out: Writer, name: string, index: number): void => {
  const bytes = utf8.encode(name);
  putU32(out, bytes.length);
  putAll(out, [...bytes]);
  put(out, externalKind.function);
  putU32(out, index);
};

const emitExports = (w: ModuleWriter): void => {
  const { start, functionTypes } = w.shape;
  const next = functionTypes.length;
  copyEntries(w, section.export, start === null ? 3 : 4);
  putExport(w.out, hostExport.fuelGet, next);
  putExport(w.out, hostExport.fuelSet, next + 1);
  putExport(w.out, hostExport.growFailed, next + 2);
  // Invariant 7: as an export it runs when the fuel is in place.
  if (start !== null) putExport(w.out, hostExport.start, start);
};

const putAccessor = (out: Writer, code: readonly number[], globalIndex: number): void => {
  const size = putWide(out, 0);
  put(out, 0);
  putAll(out, code);
  putU32(out, globalIndex);
  put(out, 0x0b);
  closeSize(out, size);
};

const emitCode = (w: ModuleWriter): void => {
  const fuel = w.shape.globalCount;
  const growFailed = fuel + 1;
  putU32(w.out, w.bodies.length + addedTypes.length);
  for (const body of w.bodies) emitBody(w.out, body, w.leaves, { fuel, growFailed });
  putAccessor(w.out, [0x23], fuel);
  putAccessor(w.out, [0x20, 0, 0x24], fuel);
  putAccessor(w.out, [0x23], growFailed);
};

/** Sections that are written anew; those with entries of metering exist in every output. */
const rewritten: ReadonlyMap<number, (w: ModuleWriter) => void> = new Map([
  [section.type, emitTypes],
  [section.function, emitFunctions],
  [section.table, emitTables],
  [section.memory, emitMemory],
  [section.global, emitGlobals],
  [section.export, emitExports],
  [section.code, emitCode],
]);
const alwaysPresent: ReadonlySet<number> = new Set([
  section.type,
  section.function,
  section.global,
  section.export,
  section.code,
]);

/** Writes the metered module: without custom sections, and without a start section. */
export const emit = (shape: ModuleShape, bodies: readonly Body[], leaves: LeafCosts): Emitted => {
  const out = openWriter(shape.bytes);
  const w: ModuleWriter = { out, shape, bodies, leaves, memoryMaxAt: null };
  copy(out, 0, 8);
  for (const id of sectionOrder) {
    const range = shape.sections.get(id);
    if (id === section.start || (range === undefined && !alwaysPresent.has(id))) continue;
    put(out, id);
    const size = putWide(out, 0);
    const write = rewritten.get(id);
    if (write !== undefined) write(w);
    else if (range !== undefined) copy(out, range.at, range.end);
    closeSize(out, size);
  }
  return { bytes: out.bytes.slice(0, out.length), memoryMaxAt: w.memoryMaxAt };
};
