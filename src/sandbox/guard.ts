import { writeFileSync } from "node:fs";
import { messageOf } from "../errors.ts";
import { confine, isConfined, type Places } from "./confine.ts";
import { openCLibrary } from "./linux.ts";

/** Numbers of linux/prctl.h, signal.h and sys/resource.h. */
const setParentDeathSignal = 1;
const setNoNewPrivileges = 38;
const sigkill = 9n;
const limitCore = 4;
const ofProcess = 0;
const lowestPriority = 19;

/** Where the modules of a compiled binary are. */
const isBuilt = Bun.main.startsWith("/$bunfs/");

const guardLinux = (places: Places): void => {
  // The kernel keeps all of this for what a process executes; loading the C library again would cost 2 MB.
  if (isConfined()) return;
  const libc = openCLibrary();
  const { prctl, setpriority, setrlimit } = libc;
  // A child that computes does not see its stdin end; the kernel ends it when the engine dies, however that dies.
  if (prctl(setParentDeathSignal, sigkill, 0n, 0n, 0n) !== 0) throw new Error("prctl failed");
  prctl(setNoNewPrivileges, 1n, 0n, 0n, 0n);
  setrlimit(limitCore, new BigUint64Array([0n, 0n]));
  // Computing tools get what the engine leaves: its streams go on undisturbed.
  setpriority(ofProcess, 0, lowestPriority);
  // Under memory pressure the kernel takes a child before the engine.
  writeFileSync("/proc/self/oom_score_adj", "1000");
  // A checkout's sources lie anywhere; the binary carries its own.
  if (isBuilt) confine(places, libc);
};

/**
 * Ties this process to the one that started it and takes from it what it does not need; false: that one is gone
 * already. Elsewhere than on Linux a child that computes outlives a killed engine until its fuel is used up.
 */
export const guardProcess = (parentPid: number, places: Places): boolean => {
  if (process.platform === "linux") {
    try {
      guardLinux(places);
    } catch (error) {
      writeFileSync(2, `the sandbox child is not fully guarded: ${messageOf(error)}\n`);
    }
  }
  // It may have died before the kernel was asked to watch it.
  return process.platform !== "linux" || process.ppid === parentPid;
};
