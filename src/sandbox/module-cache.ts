/**
 * Metered modules on disk, by the digest of the tool's file: `<sha256>.m<meterVersion>`, a frame (see frame.ts) whose
 * header describes the module and whose body is its metered form. Written whole or not at all; what does not read back
 * as it was written is made anew.
 */
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
import { join } from "node:path";
import type { JsonObject } from "../agent/json.ts";
import { messageOf } from "../errors.ts";
import { moduleLimits, sandboxLimits } from "../limits.ts";
import {
  decodeFrame,
  encodeFrame,
  numberOf,
  optional,
  prefixBytes,
  readPrefix,
  textOf,
  textsOf,
} from "./frame.ts";
import { type MeteredModule, meter, meterVersion } from "./meter/meter.ts";
import { ModuleRefused } from "./meter/refusal.ts";

/** What is known of a usable module. */
export type ModuleInfo = {
  /** Of the memory, in pages of 64 KiB; null: no maximum of its own. */
  readonly pagesMin: number;
  readonly pagesMax: number | null;
  readonly imports: readonly string[];
  readonly exports: readonly string[];
  readonly functionCount: number;
  readonly meteredBytes: number;
  readonly toolSection: string | null;
};

export type CachedModule = {
  readonly info: ModuleInfo;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly memoryMaxAt: number;
};

export type PreparedFile = {
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly info: ModuleInfo | null;
  /** Why the module cannot be used; null: it can. */
  readonly error: string | null;
};

const digestOf = (bytes: Uint8Array): string =>
  new Bun.CryptoHasher("sha256").update(bytes).digest("hex");

export const cacheFileOf = (cacheDir: string, sha256: string): string =>
  join(cacheDir, `${sha256}.m${meterVersion}`);

export const infoToJson = (info: ModuleInfo): JsonObject => ({ ...info });

export const infoFromJson = (header: JsonObject): ModuleInfo => ({
  pagesMin: numberOf(header, "pagesMin"),
  pagesMax: optional(header, "pagesMax", numberOf),
  imports: textsOf(header, "imports"),
  exports: textsOf(header, "exports"),
  functionCount: numberOf(header, "functionCount"),
  meteredBytes: numberOf(header, "meteredBytes"),
  toolSection: optional(header, "toolSection", textOf),
});

/** Reads a cached module; null: it is not there or not whole. */
export const readCached = (file: string): CachedModule | null => {
  try {
    const bytes = new Uint8Array(readFileSync(file));
    const { head, body } = readPrefix(bytes);
    const frame = decodeFrame(bytes.subarray(prefixBytes), head);
    if (frame.body.length !== body) return null;
    if (digestOf(frame.body) !== textOf(frame.header, "digest")) return null;
    return {
      info: infoFromJson(frame.header),
      bytes: bytes.subarray(prefixBytes + head),
      memoryMaxAt: numberOf(frame.header, "memoryMaxAt"),
    };
  } catch {
    return null;
  }
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
