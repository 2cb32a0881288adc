import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { tmpdir } from "node:os";
import { closeSync, openSync, writeSync } from "node:fs";
import type { Settings } from "./engine-process.ts";

/** What the disk under engram.db does; what is left out is well. */
export type Fault = {
  /** Each sync takes this long; a delay under way ends when it is taken back. */
  readonly syncDelayMs?: number;
  readonly syncError?: "EIO";
  readonly writeError?: "EIO" | "ENOSPC" | "EROFS";
};

/** A disk that a test makes fail, for the processes that are started with `settings`. */
export type FaultyDisk = Disposable & {
  readonly settings: Settings;
  set(fault: Fault): void;
  /** Syncs that have succeeded so far. */
  syncs(): number;
};

const { EIO, ENOSPC, EROFS } = constants.errno;
const numbers = { EIO, ENOSPC, EROFS };

/** The integers of faulty-disk.c's `struct control`. */
const fields = { syncDelayMs: 0, syncErrno: 1, writeErrno: 2, syncs: 3 };
const fieldBytes = 4;

const compilers = ["clang-14", "clang", "gcc", "cc"];

const build = (folder: string): string => {
  const compiler = compilers.find((name) => Bun.which(name) !== null);
  if (compiler === undefined) throw new Error(`the tests need one of ${compilers.join(", ")}`);
  const library = join(folder, "faulty-disk.so");
  const source = join(import.meta.dir, "disk", "faulty-disk.c");
  const { exitCode, stderr } = Bun.spawnSync(
    [compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"],
    { stderr: "pipe" },
  );
  if (exitCode !== 0) throw new Error(`faulty-disk.c does not build: ${stderr.toString()}`);
  return library;
};

export const openFaultyDisk = (): FaultyDisk => {
  const folder = mkdtempSync(join(tmpdir(), "engram-disk-"));
  const library = build(folder);
  const control = join(folder, "control");
  writeFileSync(control, Buffer.alloc(Object.keys(fields).length * fieldBytes));
  const put = (field: keyof typeof fields, value: number): void => {
    const bytes = Buffer.alloc(fieldBytes);
    bytes.writeInt32LE(value);
    const fd = openSync(control, "r+");
    writeSync(fd, bytes, 0, fieldBytes, fields[field] * fieldBytes);
    closeSync(fd);
  };
  return {
    settings: { LD_PRELOAD: library, FAULTY_DISK: control },
    set: ({ syncDelayMs = 0, syncError, writeError }) => {
      put("syncErrno", syncError === undefined ? 0 : numbers[syncError]);
      put("writeErrno", writeError === undefined ? 0 : numbers[writeError]);
      put("syncDelayMs", syncDelayMs);
    },
    syncs: () => readFileSync(control).readInt32LE(fields.syncs * fieldBytes),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true }),
  };
};
