import { Glob } from "bun";
import { mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Settings } from "./engine-process.ts";

/** The wall clock of processes, which can be set while they run. */
export type SetClock = AsyncDisposable & {
  /** For the processes that are to go by it. */
  readonly settings: Settings;
  /** Sets it to so much before or after the machine's. */
  set(aheadSeconds: number): Promise<void>;
};

/**
 * A clock by libfaketime, which answers a process's own questions for the time; the monotonic clock is left as it is. Fails
 * where Debian's package `faketime` is not installed.
 */
export async function openSetClock(): Promise<SetClock> {
  const [library] = await Array.fromAsync(
    new Glob("/usr/lib/*/faketime/libfaketimeMT.so.1").scan({ onlyFiles: false }),
  );
  if (library === undefined) throw new Error("libfaketime is missing: install faketime");
  const folder = await mkdtemp(join(tmpdir(), "engram-clock-"));
  const file = join(folder, "ahead");
  const set = async (aheadSeconds: number): Promise<void> => {
    const next = `${file}.next`;
    await Bun.write(next, `${aheadSeconds < 0 ? "" : "+"}${aheadSeconds}`);
    // In one step: a process may look at any moment.
    await rename(next, file);
  };
  await set(0);
  return {
    settings: {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
    },
    set,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}
