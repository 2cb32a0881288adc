/** Makes a tool's file ready to be run. Only the children that do this load the meter. */
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import type { JsonObject } from "../agent/json.ts";
import { messageOf } from "../errors.ts";
import { moduleLimits, sandboxLimits } from "../limits.ts";
import { encodeFrame } from "./frame.ts";
import { meter } from "./meter/meter.ts";
import type { MeteredModule } from "./meter/metered.ts";
import { ModuleRefused } from "./meter/refusal.ts";
import { type ModuleInfo, cacheFileOf, digestOf, infoToJson, readCached } from "./module-cache.ts";

export type PreparedFile = {
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly info: ModuleInfo | null;
  /** Why the module cannot be used; null: it can. */
  readonly error: string | null;
};

const writeAll = (fd: number, bytes: Uint8Array): void => {
  let at = 0;
  while (at < bytes.length) at += writeSync(fd, bytes, at, bytes.length - at);
};

const writeCached = (file: string, header: JsonObject, body: Uint8Array): void => {
  const temporary = `${file}.${crypto.randomUUID()}.tmp`;
  const fd = openSync(temporary, "wx", 0o600);
  try {
    writeAll(fd, encodeFrame(header, body));
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  try {
    renameSync(temporary, file);
  } catch (error) {
    unlinkSync(temporary);
    throw error;
  }
};

const infoOf = (metered: MeteredModule): ModuleInfo => ({
  pagesMin: metered.pagesMin,
  pagesMax: metered.pagesMax === Infinity ? null : metered.pagesMax,
  imports: metered.imports,
  exports: metered.exports
    .slice(0, sandboxLimits.shownExportsMax)
    .map((name) => name.slice(0, sandboxLimits.shownExportCharsMax)),
  functionCount: metered.functionCount,
  meteredBytes: metered.bytes.length,
  toolSection: metered.toolSection,
});

const meterAndCache = (bytes: Uint8Array<ArrayBuffer>, file: string): ModuleInfo => {
  const metered = meter(bytes);
  const info = infoOf(metered);
  const digest = digestOf(metered.bytes);
  const header = { ...infoToJson(info), digest, memoryMaxAt: metered.memoryMaxAt };
  writeCached(file, header, metered.bytes);
  return info;
};

/** Reads a regular file: not through a link, and without waiting for the other end of a pipe. */
const readModule = (path: string): Uint8Array<ArrayBuffer> => {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new Error("it is not a regular file");
    if (stat.size > moduleLimits.bytesMax) {
      throw new Error(`it has ${stat.size} bytes, the limit is ${moduleLimits.bytesMax}`);
    }
    return new Uint8Array(readFileSync(fd));
  } finally {
    closeSync(fd);
  }
};

const refusalOf = (error: unknown): string => {
  if (error instanceof ModuleRefused) return error.message;
  // The decoder's own fault, or too deep a stack; either way the file is not usable.
  return `this module cannot be metered: ${messageOf(error)}`;
};

/** Digests, checks and meters the file at `path`, unless the cache has it. Throws where it cannot be read or cached. */
export const prepareFile = (path: string, cacheDir: string): PreparedFile => {
  const bytes = readModule(path);
  const sha256 = digestOf(bytes);
  const sizeBytes = bytes.length;
  const file = cacheFileOf(cacheDir, sha256);
  const cached = readCached(file);
  if (cached !== null) return { sha256, sizeBytes, info: cached.info, error: null };
  mkdirSync(cacheDir, { recursive: true });
  let metered: { readonly info: ModuleInfo | null; readonly error: string | null };
  try {
    metered = { info: meterAndCache(bytes, file), error: null };
  } catch (error) {
    if (error instanceof Error && "syscall" in error) throw error;
    metered = { info: null, error: refusalOf(error) };
  }
  return { sha256, sizeBytes, ...metered };
};
