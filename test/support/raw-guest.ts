import { type Guest, openSink } from "../../src/sandbox/wasi/guest.ts";

const outputBytesMax = 1024 * 1024;

/** A guest of the sandbox's own system calls whose run nothing ends: for modules as their compilers made them. */
export const openRawGuest = (
  args: readonly Uint8Array[] = [],
  stdin: Uint8Array = new Uint8Array(0),
): Guest => ({
  exports: null,
  args,
  stdin,
  stdinAt: 0,
  stdout: openSink(outputBytesMax, false),
  stderr: openSink(outputBytesMax, true),
  isOpen: [true, true, true],
  startedAtMs: performance.now(),
  deadlineMs: Infinity,
  ending: null,
  fuelAtEnding: 0n,
});
