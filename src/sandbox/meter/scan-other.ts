import { type Scan, addPoint, topFrame } from "./body.ts";
import { type BulkRate, bulkRateIndex, bulkRates, staticCosts, vectorSlow } from "./cost.ts";
import { byte, indexBelow, isValueType, referenceType, skip, u32 } from "./cursor.ts";
import { leaveFunction } from "./scan-control.ts";
import { point, pointOver } from "./point.ts";
import { malformed, unsupported } from "./refusal.ts";

const functionIndex = (scan: Scan): number =>
  indexBelow(scan, scan.shape.functionTypes.length, "function");
const typeIndex = (scan: Scan): number => indexBelow(scan, scan.shape.typeCount, "type");
const tableIndex = (scan: Scan): number => indexBelow(scan, scan.shape.tables.length, "table");
const memoryIndex = (scan: Scan): number =>
  indexBelow(scan, scan.shape.memory === null ? 0 : 1, "memory");

/** Notes a call; `callee` -1: through a table. Its cost, where the caller pays it, falls to the current segment. */
const noteCall = (scan: Scan, callee: number): void => {
  if (scan.dead) return;
  if (callee < 0) scan.body.callsUnknown = true;
  const range = { at: scan.opcodeAt, end: scan.at };
  addPoint(scan, pointOver("call", range, scan.segment, callee));
  addPoint(scan, pointOver("returned", { at: scan.at, end: scan.at }, scan.segment, callee));
};

const noteTailCall = (scan: Scan, callee: number): void => {
  if (!scan.dead) {
    if (callee < 0) scan.body.callsUnknown = true;
    const range = { at: scan.opcodeAt, end: scan.at };
    addPoint(scan, pointOver("call", range, scan.segment, callee));
    addPoint(scan, point("leave", scan.opcodeAt, null));
  }
  leaveFunction(scan);
};

const call = (scan: Scan): void => noteCall(scan, functionIndex(scan));
const tailCall = (scan: Scan): void => noteTailCall(scan, functionIndex(scan));

const indirect = (scan: Scan): void => {
  typeIndex(scan);
  tableIndex(scan);
};

const callIndirect = (scan: Scan): void => {
  indirect(scan);
  noteCall(scan, -1);
};

const tailCallIndirect = (scan: Scan): void => {
  indirect(scan);
  noteTailCall(scan, -1);
};

const bulk = (scan: Scan, rate: BulkRate, cost: number): void => {
  if (scan.dead) return;
  scan.body.hasBulk = true;
  scan.pending += cost;
  const range = { at: scan.opcodeAt, end: scan.at };
  addPoint(scan, pointOver("bulk", range, null, bulkRateIndex(rate)));
};

const memoryGrow = (scan: Scan): void => {
  memoryIndex(scan);
  if (scan.dead) return;
  scan.body.hasBulk = true;
  scan.pending += staticCosts.memoryGrow;
  addPoint(scan, pointOver("grow", { at: scan.opcodeAt, end: scan.at }, null, -1));
};

const selectTyped = (scan: Scan): void => {
  if (u32(scan) !== 1) malformed("a select has more than one type");
  const type = byte(scan);
  if (!isValueType(type)) unsupported("gc", `select type 0x${type.toString(16)}`);
};

const refFunc = (scan: Scan): void => {
  scan.shape.reachable[functionIndex(scan)] = 1;
};

/** The numbers behind the prefix 0xfc; the validator knows how many data and element segments there are. */
const prefixedBulk = (scan: Scan): void => {
  const code = u32(scan);
  if (code < 8) return; // saturating truncations
  const cost = staticCosts.bulk;
  switch (code) {
    case 8: // memory.init
      u32(scan);
      memoryIndex(scan);
      return bulk(scan, bulkRates.bytes, cost);
    case 9: // data.drop
    case 13: // elem.drop
      u32(scan);
      return;
    case 10: // memory.copy
      memoryIndex(scan);
      memoryIndex(scan);
      return bulk(scan, bulkRates.bytes, cost);
    case 11: // memory.fill
      memoryIndex(scan);
      return bulk(scan, bulkRates.bytes, cost);
    case 12: // table.init
      u32(scan);
      tableIndex(scan);
      return bulk(scan, bulkRates.initEntries, cost);
    case 14: // table.copy
      tableIndex(scan);
      tableIndex(scan);
      return bulk(scan, bulkRates.entries, cost);
    case 15: // table.grow
      tableIndex(scan);
      return bulk(scan, bulkRates.grownEntries, cost + staticCosts.tableGrow);
    case 16: // table.size
      tableIndex(scan);
      return;
    case 17: // table.fill
      tableIndex(scan);
      return bulk(scan, bulkRates.entries, cost);
    case 19:
    case 20:
    case 21:
    case 22:
      return unsupported("wide arithmetic", `instruction 0xfc ${code}`);
    default:
      return malformed(`instruction 0xfc ${code} is unknown`);
  }
};

/** Alignment (below 64: bit 6 would announce a memory index) and offset (invariant 9). */
const memoryArgument = (scan: Scan): void => {
  if (u32(scan) >= 64) unsupported("multi-memory", "a memory index in an access");
  u32(scan);
};

/** The numbers behind the prefix 0xfd. */
const vector = (scan: Scan): void => {
  const code = u32(scan);
  const hasLane = (code >= 21 && code <= 34) || (code >= 84 && code <= 91);
  if (code <= 11 || (code >= 84 && code <= 93)) memoryArgument(scan);
  if (hasLane) byte(scan);
  if (code === 12 || code === 13) skip(scan, 16); // v128.const, i8x16.shuffle
  if (code > 255) unsupported("relaxed SIMD", `instruction 0xfd ${code}`);
  if (vectorSlow.has(code)) scan.pending += staticCosts.vectorSlow;
};

const unsupportedInstructions: ReadonlyMap<number, string> = new Map([
  [0x06, "legacy exceptions"],
  [0x07, "legacy exceptions"],
  [0x09, "legacy exceptions"],
  [0x18, "legacy exceptions"],
  [0x19, "legacy exceptions"],
  [0x14, "typed function references"],
  [0x15, "typed function references"],
  [0xd3, "gc"],
  [0xd4, "typed function references"],
  [0xd5, "typed function references"],
  [0xd6, "typed function references"],
  [0xfb, "gc"],
  [0xfe, "threads"],
]);

/** By opcode. */
export const otherInstructions: ReadonlyMap<number, (scan: Scan) => void> = new Map([
  [0x10, call],
  [0x11, callIndirect],
  [0x12, tailCall],
  [0x13, tailCallIndirect],
  [0x1c, selectTyped],
  [0x25, tableIndex],
  [0x26, tableIndex],
  [0x3f, memoryIndex],
  [0x40, memoryGrow],
  [0xd0, referenceType],
  [0xd2, refFunc],
  [0xfc, prefixedBulk],
  [0xfd, vector],
]);

/** Refuses an instruction that no table above knows. */
export const refuseInstruction = (scan: Scan, opcode: number): never => {
  const hex = `0x${opcode.toString(16)}`;
  topFrame(scan);
  const feature = unsupportedInstructions.get(opcode);
  if (feature !== undefined) return unsupported(feature, `instruction ${hex}`);
  return malformed(`instruction ${hex} is unknown`);
};
