import { moduleLimits } from "../../limits.ts";
import { type Cursor, u32, valueType } from "./cursor.ts";
import { type Point, point } from "./point.ts";
import { malformed, overLimit } from "./refusal.ts";
import type { ModuleShape } from "./shape.ts";
import { staticCosts } from "./cost.ts";

/** A construct that is open while a body is scanned; the first one is the function itself. */
export type Frame = {
  kind: "function" | "block" | "loop" | "then" | "else" | "try";
  /** The segment that was current when the construct began. */
  readonly base: Point;
  /** The outermost frame that a branch from inside goes to, by depth; Infinity: none. */
  outermost: number;
  /** Something arrives at its end other than by falling through. */
  targeted: boolean;
  readonly deadAtStart: boolean;
  readonly loop: Point | null;
};

/** A function's code and what the scan finds in it. */
export type Body = {
  /** Index among all functions, imported ones included. */
  readonly index: number;
  /** The locals' declarations, the first instruction, and the first byte behind the body. */
  readonly at: number;
  readonly codeAt: number;
  readonly end: number;
  readonly declaredLocals: number;
  /** Parameters included. */
  readonly localCount: number;
  readonly points: Point[];
  /** Static cost of all its instructions. */
  totalCost: number;
  hasLoop: boolean;
  hasBulk: boolean;
  hasExceptions: boolean;
  callsUnknown: boolean;
};

/**
 * The state of a scan. `at` is behind the instruction that is being read, which began at `opcodeAt`; `pending` is the
 * cost that no segment carries yet, `segment` the one that will.
 */
export type Scan = Cursor & {
  readonly shape: ModuleShape;
  readonly body: Body;
  readonly frames: Frame[];
  opcodeAt: number;
  segment: Point;
  pending: number;
  /** The code that is read cannot be reached. */
  dead: boolean;
};

/** Reads a body's head. */
export const openBody = (shape: ModuleShape, index: number, file: Cursor): Body => {
  const size = u32(file);
  if (size > moduleLimits.bodyBytesMax) {
    overLimit(`function ${index} has ${size} bytes, the limit is ${moduleLimits.bodyBytesMax}`);
  }
  const at = file.at;
  const end = at + size;
  if (end > file.end) malformed("a function runs past the end of the code");
  const cursor: Cursor = { bytes: file.bytes, at, end };
  const groups = u32(cursor);
  let declaredLocals = 0;
  for (let i = 0; i < groups; i++) {
    declaredLocals += u32(cursor);
    valueType(cursor);
    if (declaredLocals > moduleLimits.localsMax) {
      overLimit(`function ${index} has more than ${moduleLimits.localsMax} locals`);
    }
  }
  const params = shape.paramCounts[shape.functionTypes[index] ?? -1] ?? 0;
  return {
    index,
    at,
    codeAt: cursor.at,
    end,
    declaredLocals,
    localCount: declaredLocals + params,
    points: [],
    totalCost: 0,
    hasLoop: false,
    hasBulk: false,
    hasExceptions: false,
    callsUnknown: false,
  };
};

export const openScan = (shape: ModuleShape, body: Body): Scan => {
  const entry = point("entry", body.codeAt, null);
  body.points.push(entry);
  const frame: Frame = {
    kind: "function",
    base: entry,
    outermost: Infinity,
    targeted: false,
    deadAtStart: false,
    loop: null,
  };
  return {
    bytes: shape.bytes,
    at: body.codeAt,
    end: body.end,
    shape,
    body,
    frames: [frame],
    opcodeAt: body.codeAt,
    segment: entry,
    // Invariant 6.
    pending: 1 + body.declaredLocals + (shape.tagCount > 0 ? staticCosts.unwind : 0),
    dead: false,
  };
};

/** Books the pending cost to the current segment: called where the segment may end. */
export const book = (scan: Scan): void => {
  if (!scan.dead) scan.segment.cost += scan.pending;
  scan.body.totalCost += scan.pending;
  scan.pending = 0;
};

export const addPoint = (scan: Scan, added: Point): Point => {
  scan.body.points.push(added);
  return added;
};

/** Begins a segment behind the instruction that was read. */
export const beginSegment = (scan: Scan): void => {
  scan.segment = addPoint(scan, point("segment", scan.at, null));
};

export const topFrame = (scan: Scan): Frame =>
  scan.frames[scan.frames.length - 1] ?? malformed("code after the end of a function");
