/*
 * The filter of system calls of a sandbox child, as a program of the kernel's packet filter (linux/seccomp.h,
 * linux/filter.h). It refuses what a child has no business with: new sockets, other processes' memory, new processes,
 * io_uring (which does by itself what calls would be refused for). What it does not name stays allowed: the runtime's
 * own needs change with its versions.
 */

type Architecture = {
  /** AUDIT_ARCH_… of linux/audit.h. */
  readonly audit: number;
  readonly clone: number;
  /** Numbers of asm/unistd.h. */
  readonly refused: readonly number[];
};

const clone3 = 435;
const ioUringSetup = 425;

const architectures: Readonly<Record<string, Architecture>> = {
  x64: {
    audit: 0xc000003e,
    clone: 56,
    // socket, socketpair, fork, vfork, ptrace, process_vm_readv, process_vm_writev, pidfd_getfd
    refused: [41, 53, 57, 58, 101, 310, 311, 438, ioUringSetup],
  },
  arm64: {
    audit: 0xc00000b7,
    clone: 220,
    // socket, socketpair, ptrace, process_vm_readv, process_vm_writev, pidfd_getfd
    refused: [198, 199, 117, 270, 271, 438, ioUringSetup],
  },
};

const loadWord = 0x20;
const jumpIfEqual = 0x15;
const jumpIfAtLeast = 0x35;
const jumpIfAnySet = 0x45;
const finish = 0x06;

const allow = 0x7fff0000;
const killProcess = 0x80000000;
const failWith = (errno: number): number => 0x00050000 | errno;
const notPermitted = failWith(1);
/** Without clone3 the C library takes clone, whose flags a filter can see. */
const notImplemented = failWith(38);

const numberOffset = 0;
const architectureOffset = 4;
const firstArgumentOffset = 16;
const cloneThread = 0x10000;
/** Calls of the x32 ABI have numbers from here on: the same calls by other numbers. */
const x32Bit = 0x40000000;

type Instruction = readonly [code: number, ifTrue: number, ifFalse: number, value: number];

const returnIf = (code: number, value: number, verdict: number): readonly Instruction[] => [
  [code, 0, 1, value],
  [finish, 0, 0, verdict],
];

/** The program as the kernel takes it, 8 bytes an instruction; null: it is not known how calls are numbered here. */
export const seccompProgram = (arch: string): Uint8Array | null => {
  const known = architectures[arch];
  if (known === undefined) return null;
  const instructions: readonly Instruction[] = [
    [loadWord, 0, 0, architectureOffset],
    [jumpIfEqual, 1, 0, known.audit],
    [finish, 0, 0, killProcess],
    [loadWord, 0, 0, numberOffset],
    ...returnIf(jumpIfAtLeast, x32Bit, notPermitted),
    ...known.refused.flatMap((number) => returnIf(jumpIfEqual, number, notPermitted)),
    ...returnIf(jumpIfEqual, clone3, notImplemented),
    [jumpIfEqual, 0, 3, known.clone],
    // A thread is the runtime's own; a process is not.
    [loadWord, 0, 0, firstArgumentOffset],
    [jumpIfAnySet, 1, 0, cloneThread],
    [finish, 0, 0, notPermitted],
    [finish, 0, 0, allow],
  ];
  const program = new DataView(new ArrayBuffer(instructions.length * 8));
  for (const [index, [code, ifTrue, ifFalse, value]] of instructions.entries()) {
    program.setUint16(index * 8, code, true);
    program.setUint8(index * 8 + 2, ifTrue);
    program.setUint8(index * 8 + 3, ifFalse);
    program.setUint32(index * 8 + 4, value, true);
  }
  return new Uint8Array(program.buffer);
};
