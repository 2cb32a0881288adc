import { moduleLimits } from "../../limits.ts";
import { type Frame, type Scan, addPoint, beginSegment, book, topFrame } from "./body.ts";
import { byte, indexBelow, isValueType, u32 } from "./cursor.ts";
import { staticCosts } from "./cost.ts";
import { point, pointOver } from "./point.ts";
import { malformed, overLimit, unsupported } from "./refusal.ts";

const emptyBlock = 0x40;

/**
 * The number of a block's parameters. A type index is a signed 33-bit integer here: one that the engine would read as
 * negative is refused (invariant 9).
 */
const blockParams = (scan: Scan): number => {
  const first = scan.bytes[scan.at] ?? 0;
  if (first === emptyBlock || isValueType(first)) {
    scan.at++;
    return 0;
  }
  if (first > emptyBlock && first < 0x80) unsupported("gc", `block type 0x${first.toString(16)}`);
  const type = indexBelow(scan, scan.shape.typeCount, "block type");
  if (((scan.bytes[scan.at - 1] ?? 0) & 0x40) !== 0) malformed("a block type is negative");
  return scan.shape.paramCounts[type] ?? 0;
};

const openFrame = (scan: Scan, kind: Frame["kind"], loop: Frame["loop"]): void => {
  if (scan.frames.length >= moduleLimits.nestingMax) {
    overLimit(`function ${scan.body.index} nests more than ${moduleLimits.nestingMax} blocks`);
  }
  scan.frames.push({
    kind,
    base: scan.segment,
    outermost: Infinity,
    targeted: false,
    deadAtStart: scan.dead,
    loop,
  });
};

const block = (scan: Scan): void => {
  blockParams(scan);
  openFrame(scan, "block", null);
};

const loop = (scan: Scan): void => {
  const params = blockParams(scan);
  book(scan);
  scan.body.hasLoop = true;
  if (scan.dead) {
    openFrame(scan, "loop", null);
    return;
  }
  const head = addPoint(scan, point("loop", scan.at, scan.segment));
  // A block type with parameters cannot be wrapped around the charge of a `br_if`.
  head.atHead = params > 0;
  openFrame(scan, "loop", head);
  scan.segment = head;
};

const then = (scan: Scan): void => {
  blockParams(scan);
  book(scan);
  openFrame(scan, "then", null);
  if (!scan.dead) beginSegment(scan);
};

const otherwise = (scan: Scan): void => {
  book(scan);
  const frame = topFrame(scan);
  if (frame.kind !== "then") malformed("an else has no if");
  frame.kind = "else";
  if (!scan.dead) frame.targeted = true;
  scan.dead = frame.deadAtStart;
  if (!scan.dead) beginSegment(scan);
};

const endFunction = (scan: Scan): void => {
  if (scan.at !== scan.end) malformed("a function has code after its end");
  if (!scan.dead) addPoint(scan, point("leave", scan.opcodeAt, null));
};

/**
 * Which segment the code behind a construct belongs to. Where no branch leaves the construct, every way through it
 * arrives here (or traps), so the segment before the construct goes on: invariant 1 allows to pay ahead.
 */
const end = (scan: Scan): void => {
  book(scan);
  const frame = scan.frames.pop() ?? malformed("an end has no beginning");
  const depth = scan.frames.length;
  if (depth === 0) {
    endFunction(scan);
    return;
  }
  const parent = topFrame(scan);
  parent.outermost = Math.min(parent.outermost, frame.outermost);
  const fellDead = scan.dead;
  scan.dead = frame.deadAtStart;
  if (scan.dead) return;
  const staysInside = frame.outermost >= depth && frame.kind !== "try";
  // An if without else is also passed by; a loop's label is its head, so only falling through leaves it.
  const arrivesOtherwise = frame.targeted || frame.kind === "then";
  if (fellDead && (frame.kind === "loop" || !arrivesOtherwise)) scan.dead = true;
  else if (staysInside) scan.segment = frame.base;
  else if (frame.kind !== "block" || frame.targeted) beginSegment(scan);
};

/** Notes that control may go from here to the frame `label` levels out; gives that frame. */
const branchTo = (scan: Scan, label: number): Frame => {
  const depth = scan.frames.length - 1 - label;
  const target = scan.frames[depth] ?? malformed("a branch goes nowhere");
  const top = topFrame(scan);
  top.outermost = Math.min(top.outermost, depth);
  target.targeted = true;
  return target;
};

/** In dead code a label only has to exist: the engine's validator lets one pass that does not (invariant 9). */
const label = (scan: Scan): number => indexBelow(scan, scan.frames.length, "label");

const branch = (scan: Scan): void => {
  const to = label(scan);
  book(scan);
  if (scan.dead) return;
  const target = branchTo(scan, to);
  if (target.loop !== null) {
    target.loop.backEdges++;
    addPoint(scan, point("backEdge", scan.opcodeAt, target.loop));
  }
  if (target.kind === "function") addPoint(scan, point("leave", scan.opcodeAt, null));
  scan.dead = true;
};

const branchIf = (scan: Scan): void => {
  const to = label(scan);
  book(scan);
  if (scan.dead) return;
  const target = branchTo(scan, to);
  const range = { at: scan.opcodeAt, end: scan.at };
  if (target.loop !== null) {
    target.loop.backEdges++;
    addPoint(scan, pointOver("backEdgeIf", range, target.loop, to));
  } else if (target.kind === "function") {
    addPoint(scan, point("leave", scan.opcodeAt, null));
  }
  beginSegment(scan);
};

/** A branch whose edge cannot carry a charge of its own. */
const branchUncharged = (scan: Scan, to: number): Frame => {
  const target = branchTo(scan, to);
  if (target.loop !== null) target.loop.atHead = true;
  return target;
};

const branchTable = (scan: Scan): void => {
  const count = u32(scan);
  if (count > moduleLimits.branchTableMax) {
    overLimit(
      `function ${scan.body.index} has a br_table of ${count} targets, the limit is ${moduleLimits.branchTableMax}`,
    );
  }
  book(scan);
  let leaves = false;
  for (let i = 0; i <= count; i++) {
    const to = label(scan);
    if (!scan.dead && branchUncharged(scan, to).kind === "function") leaves = true;
  }
  if (leaves) addPoint(scan, point("leave", scan.opcodeAt, null));
  scan.dead = true;
};

/** Control leaves the function, or goes to a handler that may be anywhere. */
export const leaveFunction = (scan: Scan): void => {
  book(scan);
  if (!scan.dead) topFrame(scan).outermost = 0;
  scan.dead = true;
};

const unreachable = (scan: Scan): void => {
  book(scan);
  scan.dead = true;
};

const giveBack = (scan: Scan): void => {
  if (!scan.dead) addPoint(scan, point("leave", scan.opcodeAt, null));
  leaveFunction(scan);
};

const raise = (scan: Scan): void => {
  scan.body.hasExceptions = true;
  scan.pending += staticCosts.throw;
  leaveFunction(scan);
};

const throwTag = (scan: Scan): void => {
  indexBelow(scan, scan.shape.tagCount, "tag");
  raise(scan);
};

const catchKindsWithTag = 2;
const catchKinds = 4;

/** The labels of its clauses count from outside of it; a handler can be entered from every call inside. */
const tryTable = (scan: Scan): void => {
  scan.body.hasExceptions = true;
  blockParams(scan);
  book(scan);
  const clauses = u32(scan);
  if (clauses > moduleLimits.branchTableMax) overLimit("a try_table has too many clauses");
  for (let i = 0; i < clauses; i++) {
    const kind = byte(scan);
    if (kind >= catchKinds) malformed("a catch clause has an unknown kind");
    if (kind < catchKindsWithTag) indexBelow(scan, scan.shape.tagCount, "tag");
    const to = label(scan);
    if (!scan.dead) branchUncharged(scan, to);
  }
  openFrame(scan, "try", null);
};

/** By opcode. */
export const controlInstructions: ReadonlyMap<number, (scan: Scan) => void> = new Map([
  [0x00, unreachable],
  [0x02, block],
  [0x03, loop],
  [0x04, then],
  [0x05, otherwise],
  [0x08, throwTag],
  [0x0a, raise],
  [0x0b, end],
  [0x0c, branch],
  [0x0d, branchIf],
  [0x0e, branchTable],
  [0x0f, giveBack],
  [0x1f, tryTable],
]);
