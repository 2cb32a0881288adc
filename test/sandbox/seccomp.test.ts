import { describe, expect, test } from "bun:test";
import { seccompProgram } from "../../src/sandbox/seccomp.ts";

/** What the kernel's packet filter answers to a system call, in the few instructions that the program uses. */
const verdict = (
  program: Uint8Array,
  call: { readonly arch: number; readonly number: number; readonly firstArgument?: number },
): number => {
  const words = new Map([
    [0, call.number],
    [4, call.arch],
    [16, call.firstArgument ?? 0],
  ]);
  const view = new DataView(program.buffer, program.byteOffset);
  let loaded = 0;
  for (let at = 0; at * 8 < program.length; at++) {
    const code = view.getUint16(at * 8, true);
    const value = view.getUint32(at * 8 + 4, true);
    const jump = (holds: boolean): number => view.getUint8(at * 8 + (holds ? 2 : 3));
    if (code === 0x20) loaded = words.get(value) ?? Number.NaN;
    else if (code === 0x15) at += jump(loaded === value);
    else if (code === 0x35) at += jump(loaded >= value);
    else if (code === 0x45) at += jump((loaded & value) !== 0);
    else if (code === 0x06) return value;
    else throw new Error(`instruction ${code.toString(16)} is unknown`);
  }
  throw new Error("the program ends without a verdict");
};

const allowed = 0x7fff0000;
const notPermitted = 0x00050001;
const notImplemented = 0x00050026;
const killed = 0x80000000;
const thread = 0x3d0f00;
const newProcess = 0x11;

const machines = [
  { name: "x64", arch: 0xc000003e, refused: [41, 53, 57, 58, 101, 310, 311, 425, 438], clone: 56 },
  { name: "arm64", arch: 0xc00000b7, refused: [198, 199, 117, 270, 271, 425, 438], clone: 220 },
];

describe.each(machines)("the filter of system calls on $name", ({ name, arch, refused, clone }) => {
  const program = seccompProgram(name) ?? new Uint8Array(0);

  test("refuses sockets, processes and others' memory, and nothing else", () => {
    for (let number = 0; number < 470; number++) {
      if (number === clone || number === 435) continue;
      const expected = refused.includes(number) ? notPermitted : allowed;
      expect({ number, is: verdict(program, { arch, number }) }).toEqual({ number, is: expected });
    }
  });
  test("lets threads be made, but no process", () => {
    const cloned = (firstArgument: number) =>
      verdict(program, { arch, number: clone, firstArgument });
    expect(cloned(thread)).toBe(allowed);
    expect(cloned(newProcess)).toBe(notPermitted);
    expect(verdict(program, { arch, number: 435 })).toBe(notImplemented);
  });
  test("does not take another architecture's numbers for its own", () => {
    expect(verdict(program, { arch: 0x40000003, number: 1 })).toBe(killed);
    expect(verdict(program, { arch, number: 0x40000000 + 41 })).toBe(notPermitted);
  });
});

test("where calls are numbered otherwise there is no filter", () => {
  expect(seccompProgram("riscv64")).toBeNull();
});
