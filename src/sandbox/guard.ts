import { dlopen } from "bun:ffi";
import { writeFileSync } from "node:fs";
import { messageOf } from "../errors.ts";

/** Numbers of linux/prctl.h, signal.h and sys/resource.h. */
const setParentDeathSignal = 1;
const setNoNewPrivileges = 38;
const sigkill = 9n;
const limitCore = 4;

const cLibraries = ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"];

const open = (library: string) =>
  dlopen(library, {
    prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" },
    setrlimit: { args: ["i32", "ptr"], returns: "i32" },
  });

const openCLibrary = (): ReturnType<typeof open> => {
  for (const library of cLibraries) {
    try {
      return open(library);
    } catch {
      continue;
    }
  }
  throw new Error("no C library was found");
};

const guardLinux = (): void => {
  const { prctl, setrlimit } = openCLibrary().symbols;
  // A child that computes does not see its stdin end; the kernel ends it when the engine dies, however that dies.
  if (prctl(setParentDeathSignal, sigkill, 0n, 0n, 0n) !== 0) throw new Error("prctl failed");
  prctl(setNoNewPrivileges, 1n, 0n, 0n, 0n);
  setrlimit(limitCore, new BigUint64Array([0n, 0n]));
  // Under memory pressure the kernel takes a child before the engine.
  writeFileSync("/proc/self/oom_score_adj", "1000");
};

/**
 * Ties this process to the one that started it and takes from it what it does not need; false: that one is gone
 * already. Elsewhere than on Linux a child that computes outlives a killed engine until its fuel is used up.
 */
export const guardProcess = (parentPid: number): boolean => {
  if (process.platform === "linux") {
    try {
      guardLinux();
    } catch (error) {
      writeFileSync(2, `the sandbox child is not fully guarded: ${messageOf(error)}\n`);
    }
  }
  // It may have died before the kernel was asked to watch it.
  return process.platform !== "linux" || process.ppid === parentPid;
};
