/**
 * Fuel metering of a WebAssembly module: what a tool computes is counted in the module itself, so that a call ends
 * after the same amount of work on every machine.
 *
 * The counter is a mutable i64 global that no export names (an exported global costs 5 times as much in
 * JavaScriptCore). Straight-line code is charged once per segment, segments are merged along dominators. A function
 * with a loop keeps the counter in a local: a loop then costs one subtraction and one predictable branch per round.
 *
 * Invariants; the other files of this folder cite them by number:
 * 1. Code is charged before it runs. Function entries and ways back to a loop's head check the counter; other charges
 *    only go forward to one of these. Code that is paid ahead may not run only if something traps, throws or exits.
 * 2. Where the counter is in a local, the global gets it before every call that charges itself, every return, tail
 *    call, branch to the function's label, and the end; the local is loaded after such calls. Functions with exception
 *    instructions always count in the global.
 * 3. On exhaustion the host finds the global below zero. After another trap the global may be too high by what the
 *    trapping function had in its local: fuel used is a lower bound then, and the same on every run.
 * 4. After a normal return the host takes a counter below zero for exhausted: the last segments may have crossed zero.
 * 5. Work beyond zero is at most one body per frame while a deep stack unwinds; bodies too long for that check at
 *    every charge.
 * 6. An entry's cost counts the declared locals (they are zeroed), and an addition where the module can throw.
 * 7. Nothing runs before the fuel is set: the start function becomes an export. A leaf's callers pay for its whole body.
 * 8. Nothing in the module can name the counters or the accessors: indices are held against the original counts, and
 *    export names with the prefix `__engram_` are refused. memory.grow alone is charged after it ran: what it can get
 *    is bounded by the memory limit, and a refusal has to be told from exhaustion.
 * 9. Doubt is refusal: the decoder is as strict as the format where the engine's validator is laxer (labels in dead
 *    code, else without if), and both have to accept a module, before and after.
 */
import { moduleLimits } from "../../limits.ts";
import { readSections } from "./sections.ts";
import { type ModuleShape, externalKind } from "./shape.ts";
import { emit } from "./emit.ts";
import type { MeteredModule } from "./metered.ts";
import { plan } from "./plan.ts";
import { ModuleRefused, malformed, overLimit } from "./refusal.ts";
import { scanCode } from "./scan.ts";

/** What a tool has to export. Gives its memory. */
const checkExports = ({
  exports,
  functionTypes,
  signatures,
  memory,
}: ModuleShape): { min: number; max: number } => {
  const start = exports.get("_start");
  if (start?.kind !== externalKind.function) {
    throw new ModuleRefused(
      "export",
      "the module exports no function _start; build it as a WASI command",
    );
  }
  if (signatures[functionTypes[start.index] ?? -1] !== ":") {
    throw new ModuleRefused(
      "export",
      "the module's _start takes or gives values; it must do neither",
    );
  }
  if (exports.get("memory")?.kind !== externalKind.memory || memory === null) {
    throw new ModuleRefused("export", 'the module exports no memory named "memory"');
  }
  return memory;
};

/** Checks a tool's module and gives its metered form; throws ModuleRefused. Takes up to 200 ms for 3 MB. */
export const meter = (bytes: Uint8Array<ArrayBuffer>): MeteredModule => {
  const shape = readSections(bytes);
  const bodies = scanCode(shape);
  const memory = checkExports(shape);
  // Behind our own decoder, whose refusals say more; but before anything is made of it (invariants 8 and 9).
  if (!WebAssembly.validate(bytes)) malformed("its code does not validate");
  const leaves = plan(shape, bodies);
  const metered = emit(shape, bodies, leaves);
  if (metered.bytes.length > moduleLimits.meteredBytesMax) {
    overLimit(`the module's metered form is longer than ${moduleLimits.meteredBytesMax} bytes`);
  }
  if (metered.memoryMaxAt === null || !WebAssembly.validate(metered.bytes)) {
    malformed("its metered form does not validate");
  }
  return {
    bytes: metered.bytes,
    pagesMin: memory.min,
    pagesMax: memory.max,
    memoryMaxAt: metered.memoryMaxAt ?? 0,
    imports: shape.imports,
    exports: [...shape.exports.keys()],
    functionCount: bodies.length,
    toolSection: shape.toolSection,
  };
};
