import { moduleLimits } from "../../limits.ts";
import type { Body } from "./body.ts";
import { bulkRateList, staticCosts } from "./cost.ts";
import { type Cursor, u32 } from "./cursor.ts";
import type { LeafCosts } from "./plan.ts";
import type { Point } from "./point.ts";
import { type Writer, closeSize, copy, put, putAll, putSigned, putU32, putWide } from "./writer.ts";

const op = {
  unreachable: 0x00,
  if: 0x04,
  else: 0x05,
  end: 0x0b,
  br: 0x0c,
  localGet: 0x20,
  localSet: 0x21,
  localTee: 0x22,
  globalGet: 0x23,
  globalSet: 0x24,
  i32Const: 0x41,
  i64Const: 0x42,
  i32Eq: 0x46,
  i64LtS: 0x53,
  i64Sub: 0x7d,
  i64Shl: 0x86,
  i64ShrU: 0x88,
  i64ExtendI32U: 0xad,
} as const;
const emptyBlock = 0x40;
const typeI32 = 0x7f;
const typeI64 = 0x7e;
/** -1 as a signed LEB128. */
const minusOne = 0x7f;

/** Where the counter is while a body is emitted. */
type BodyWriter = {
  readonly out: Writer;
  readonly body: Body;
  readonly leaves: LeafCosts;
  readonly fuelGlobal: number;
  readonly growFailedGlobal: number;
  /** The counter is in the local `counter`, and in the global only at calls and exits (invariant 2). */
  readonly isLocal: boolean;
  /** Locals behind the function's own. */
  readonly counter: number;
  readonly length: number;
  readonly result: number;
  /** Every charge is checked (invariant 5). */
  readonly checksAll: boolean;
  /** What of the body has been copied. */
  copied: number;
};

const save = (w: BodyWriter): void => {
  put(w.out, op.localGet);
  putU32(w.out, w.counter);
  put(w.out, op.globalSet);
  putU32(w.out, w.fuelGlobal);
};

const load = (w: BodyWriter): void => {
  put(w.out, op.globalGet);
  putU32(w.out, w.fuelGlobal);
  put(w.out, op.localSet);
  putU32(w.out, w.counter);
};

/** The counter below zero, on top of the stack, ends the run; the host finds it below zero (invariant 3). */
const trapIfNegative = (w: BodyWriter): void => {
  putAll(w.out, [op.i64Const, 0, op.i64LtS, op.if, emptyBlock]);
  if (w.isLocal) save(w);
  putAll(w.out, [op.unreachable, op.end]);
};

const pushCounter = (w: BodyWriter): void => {
  put(w.out, w.isLocal ? op.localGet : op.globalGet);
  putU32(w.out, w.isLocal ? w.counter : w.fuelGlobal);
};

/** Takes the counter's new value from the stack; with `checked` the run ends where it is below zero. */
const popCounter = (w: BodyWriter, checked: boolean): void => {
  put(w.out, w.isLocal ? (checked ? op.localTee : op.localSet) : op.globalSet);
  putU32(w.out, w.isLocal ? w.counter : w.fuelGlobal);
  if (!checked) return;
  if (!w.isLocal) pushCounter(w);
  trapIfNegative(w);
};

const charge = (w: BodyWriter, cost: number, checked: boolean): void => {
  pushCounter(w);
  put(w.out, op.i64Const);
  putSigned(w.out, cost);
  put(w.out, op.i64Sub);
  popCounter(w, checked);
};

/** Charges the i32 in `local`, shifted by a rate. */
const chargeByLength = (w: BodyWriter, local: number, shift: number, right: boolean): void => {
  pushCounter(w);
  put(w.out, op.localGet);
  putU32(w.out, local);
  putAll(w.out, [op.i64ExtendI32U, op.i64Const, shift, right ? op.i64ShrU : op.i64Shl, op.i64Sub]);
  popCounter(w, true);
};

/** Leaves the length, the top operand of every bulk operation, where it was. */
const emitBulk = (w: BodyWriter, rateIndex: number): void => {
  const rate = bulkRateList[rateIndex];
  if (rate === undefined) throw new Error(`bulk rate ${rateIndex} does not exist`);
  put(w.out, op.localTee);
  putU32(w.out, w.length);
  chargeByLength(w, w.length, rate.shift, rate.right);
};

/** Charges the pages that were got, behind the instruction (invariant 8), or notes that none were. */
const emitGrow = (w: BodyWriter, { at, end }: Point): void => {
  put(w.out, op.localTee);
  putU32(w.out, w.length);
  copy(w.out, at, end);
  put(w.out, op.localTee);
  putU32(w.out, w.result);
  putAll(w.out, [op.i32Const, minusOne, op.i32Eq, op.if, emptyBlock]);
  putAll(w.out, [op.i32Const, 1, op.globalSet]);
  putU32(w.out, w.growFailedGlobal);
  put(w.out, op.else);
  chargeByLength(w, w.length, staticCosts.grownPageShift, false);
  put(w.out, op.end);
  put(w.out, op.localGet);
  putU32(w.out, w.result);
};

/** `br_if $loop` becomes `if (charge) br $loop end`, so that only a taken branch pays. */
const emitBackEdgeIf = (w: BodyWriter, label: number, cost: number): void => {
  putAll(w.out, [op.if, emptyBlock]);
  charge(w, cost, true);
  put(w.out, op.br);
  putU32(w.out, label + 1);
  put(w.out, op.end);
};

const emitPoint = (w: BodyWriter, point: Point): void => {
  const { kind, cost, of, detail } = point;
  switch (kind) {
    case "entry":
      if (w.isLocal) load(w);
      return charge(w, cost, true);
    case "segment":
      if (cost > 0) charge(w, cost, w.checksAll);
      return;
    case "loop":
      if (point.atHead) charge(w, cost, true);
      return;
    case "call":
      if (w.isLocal && !w.leaves[detail]) save(w);
      return;
    case "returned":
      if (w.isLocal && !w.leaves[detail]) load(w);
      return;
    case "leave":
      if (w.isLocal) save(w);
      return;
    case "backEdge":
      if (of !== null && !of.atHead) charge(w, of.cost, true);
      return;
    case "backEdgeIf":
      if (of === null || of.atHead) return;
      emitBackEdgeIf(w, detail, of.cost);
      w.copied = point.end;
      return;
    case "bulk":
      return emitBulk(w, detail);
    case "grow":
      emitGrow(w, point);
      w.copied = point.end;
  }
};

/** The declarations of the body's locals and, behind them, those that counting needs. */
const emitLocals = (w: BodyWriter): void => {
  const head: Cursor = { bytes: w.out.source, at: w.body.at, end: w.body.codeAt };
  const groups = u32(head);
  const added: number[] = [];
  if (w.isLocal) added.push(1, typeI64);
  if (w.body.hasBulk) added.push(2, typeI32);
  putU32(w.out, groups + added.length / 2);
  copy(w.out, head.at, w.body.codeAt);
  putAll(w.out, added);
};

/** Writes one body with its charges; `globals` are the indices of those that metering appends. */
export const emitBody = (
  out: Writer,
  body: Body,
  leaves: LeafCosts,
  globals: { readonly fuel: number; readonly growFailed: number },
): void => {
  const size = putWide(out, 0);
  if (leaves[body.index]) {
    copy(out, body.at, body.end);
    return closeSize(out, size);
  }
  const isLocal = body.hasLoop && !body.hasExceptions;
  const scratch = body.localCount + (isLocal ? 1 : 0);
  const w: BodyWriter = {
    out,
    body,
    leaves,
    fuelGlobal: globals.fuel,
    growFailedGlobal: globals.growFailed,
    isLocal,
    counter: body.localCount,
    length: scratch,
    result: scratch + 1,
    checksAll: body.totalCost > moduleLimits.uncheckedInstructionsMax,
    copied: body.codeAt,
  };
  emitLocals(w);
  for (const point of body.points) {
    copy(out, w.copied, point.at);
    w.copied = Math.max(w.copied, point.at);
    emitPoint(w, point);
  }
  copy(out, w.copied, body.end);
  closeSize(out, size);
};
