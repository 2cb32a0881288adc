import { type Body, type Scan, openBody, openScan } from "./body.ts";
import { costOf } from "./cost.ts";
import { type Cursor, indexBelow, skipSigned, u32 } from "./cursor.ts";
import { malformed, unsupported } from "./refusal.ts";
import { controlInstructions } from "./scan-control.ts";
import { otherInstructions, refuseInstruction } from "./scan-other.ts";
import { type ModuleShape, section } from "./shape.ts";

/** How an instruction that no point comes from goes on behind its opcode. */
const plain = 1;
const localIndex = 2;
const globalIndex = 3;
const memoryArgument = 4;
const constant32 = 5;
const constant64 = 6;
const float32 = 7;
const float64 = 8;

/** By opcode; 0: in one of the tables of instructions that need more. */
const formOf = new Uint8Array(256);
formOf.fill(plain, 0x45, 0xc5); // comparisons, arithmetic, conversions
for (const opcode of [0x01, 0x1a, 0x1b, 0xd1]) formOf[opcode] = plain; // nop, drop, select, ref.is_null
formOf.fill(memoryArgument, 0x28, 0x3f);
formOf.fill(localIndex, 0x20, 0x23);
formOf.fill(globalIndex, 0x23, 0x25);
formOf[0x41] = constant32;
formOf[0x42] = constant64;
formOf[0x43] = float32;
formOf[0x44] = float64;

const handlers: (((scan: Scan) => unknown) | undefined)[] = Array.from({ length: 256 });
for (const [opcode, handler] of [...controlInstructions, ...otherInstructions]) {
  handlers[opcode] = handler;
}

/** Reads what stands behind an opcode of one of the forms above. */
const readImmediate = (scan: Scan, form: number): void => {
  switch (form) {
    case localIndex:
      indexBelow(scan, scan.body.localCount, "local");
      return;
    case globalIndex:
      indexBelow(scan, scan.shape.globalCount, "global");
      return;
    case memoryArgument:
      if (u32(scan) >= 64) unsupported("multi-memory", "a memory index in an access");
      u32(scan);
      return;
    case constant32:
      return skipSigned(scan, 5);
    case constant64:
      return skipSigned(scan, 10);
    case float32:
      scan.at += 4;
      return;
    default:
      scan.at += 8;
  }
};

/**
 * The hot loop: its variables stay in registers, and short immediates (one byte, in range) are read in place. What it
 * skips past the end is found by the check behind it.
 */
const scanInstructions = (scan: Scan): void => {
  const { bytes, end } = scan;
  const { localCount } = scan.body;
  let at = scan.at;
  let pending = scan.pending;
  while (at < end) {
    const opcode = bytes[at] ?? 0;
    pending += costOf[opcode] ?? 1;
    const form = formOf[opcode] ?? 0;
    if (form === plain) {
      at++;
      continue;
    }
    const immediate = bytes[at + 1] ?? 0;
    if (form === localIndex && immediate < 128 && immediate < localCount) {
      at += 2;
      continue;
    }
    if (form === constant32 && immediate < 128) {
      at += 2;
      continue;
    }
    scan.opcodeAt = at;
    scan.at = at + 1;
    if (form === 0) {
      scan.pending = pending;
      const handler = handlers[opcode];
      if (handler === undefined) refuseInstruction(scan, opcode);
      else handler(scan);
      pending = scan.pending;
    } else {
      readImmediate(scan, form);
    }
    at = scan.at;
  }
  scan.at = at;
};

/** Decodes one body to its end and finds its points; throws ModuleRefused. */
const scanBody = (shape: ModuleShape, index: number, file: Cursor): Body => {
  const body = openBody(shape, index, file);
  const scan = openScan(shape, body);
  scanInstructions(scan);
  if (scan.frames.length > 0 || scan.at !== body.end) malformed(`function ${index} has no end`);
  return body;
};

/** Decodes the code section, in the order of the functions. */
export const scanCode = (shape: ModuleShape): readonly Body[] => {
  const defined = shape.functionTypes.length - shape.importedCount;
  const range = shape.sections.get(section.code);
  if (range === undefined) {
    return defined === 0 ? [] : malformed("functions have no code");
  }
  const file: Cursor = { bytes: shape.bytes, ...range };
  if (u32(file) !== defined) malformed("functions and their code differ in number");
  const bodies: Body[] = [];
  for (let i = 0; i < defined; i++) {
    const body = scanBody(shape, shape.importedCount + i, file);
    file.at = body.end;
    bodies.push(body);
  }
  if (file.at !== file.end) malformed("the code section does not end where it should");
  return bodies;
};
