/*
 * On Linux a child of the built binary gives up what it needs for nothing, and then executes itself anew: both Landlock
 * and the filter of system calls bind the calling thread only, and a runtime has more than one; but what a thread
 * executes is bound whole, from its first instruction.
 */
import { readFileSync } from "node:fs";
import { type Access, restrictTo } from "./landlock.ts";
import { addressOf, type CLibrary, cText } from "./linux.ts";
import { seccompProgram } from "./seccomp.ts";

const setSeccomp = 22;
const filterMode = 2n;

/** Told to the process that is executed: it is confined. */
const confinedName = "ENGRAM_SANDBOX_CONFINED";

/** How a child is told of its places, before what starts it names the parent. */
export const readOption = "--read=";
export const writeOption = "--write=";

/** Files and folders that a child's work needs; all others are shut. */
export type Places = { readonly read: readonly string[]; readonly write: readonly string[] };

/** Whether this process was executed by one that had confined itself. */
export const isConfined = (): boolean => process.env[confinedName] === "1";

/** What the runtime needs to start: itself, its libraries, its own entry under /proc, the machine's size, randomness. */
const ownPlaces = (): readonly { readonly path: string; readonly access: Access }[] => [
  { path: process.execPath, access: "run" },
  ...["/lib", "/lib64", "/usr/lib", "/usr/lib64"].map((path) => ({ path, access: "run" as const })),
  { path: "/etc/ld.so.cache", access: "read" },
  // Its own entry only: another's would show that one's environment.
  { path: `/proc/${process.pid}`, access: "read" },
  { path: "/proc/sys/vm", access: "read" },
  { path: "/sys/devices/system/cpu", access: "read" },
  { path: "/dev/urandom", access: "read" },
  { path: "/dev/null", access: "write" },
];

/**
 * Confines the process and executes its program anew, with the same arguments; does not return. Fails where the kernel
 * can do neither, or will not.
 */
export const confine = (places: Places, libc: CLibrary): never => {
  const landlocked = restrictTo(
    [
      ...ownPlaces(),
      ...places.read.map((path) => ({ path, access: "read" as const })),
      ...places.write.map((path) => ({ path, access: "write" as const })),
    ],
    libc,
  );
  const filtered = filterCalls(libc);
  if (!landlocked && !filtered) throw new Error("the kernel has neither Landlock nor seccomp");
  return executeAnew(libc);
};

const filterCalls = ({ prctl }: CLibrary): boolean => {
  const program = seccompProgram(process.arch);
  if (program === null) return false;
  // struct sock_fprog: the number of instructions, and where they are.
  const description = new DataView(new ArrayBuffer(16));
  description.setUint16(0, program.length / 8, true);
  description.setBigUint64(8, addressOf(program), true);
  const address = addressOf(new Uint8Array(description.buffer));
  return prctl(setSeccomp, filterMode, address, 0n, 0n) === 0;
};

const executeAnew = ({ execve }: CLibrary): never => {
  const args = readFileSync("/proc/self/cmdline", "utf8").split("\0").slice(0, -1);
  const environment = Object.entries({ ...process.env, [confinedName]: "1" });
  const path = cText(process.execPath);
  const argv = cTexts(args);
  const envp = cTexts(environment.map(([name, value]) => `${name}=${value ?? ""}`));
  execve(path, argv.pointers, envp.pointers);
  throw new Error("the program could not be executed anew");
};

/** Texts as a C array of pointers, with the texts that it points to. */
const cTexts = (
  texts: readonly string[],
): { readonly pointers: BigUint64Array; readonly texts: readonly Uint8Array[] } => {
  const bytes = texts.map(cText);
  return { pointers: new BigUint64Array([...bytes.map(addressOf), 0n]), texts: bytes };
};
