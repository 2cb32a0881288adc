/**
 * Metered modules on disk, by the digest of the tool's file: `<sha256>.m<meterVersion>`, a frame (see frame.ts) whose
 * header describes the module and whose body is its metered form. Written whole or not at all; what does not read back
 * as it was written is made anew.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { JsonObject } from "../agent/json.ts";
import {
  decodeFrame,
  numberOf,
  optional,
  prefixBytes,
  readPrefix,
  textOf,
  textsOf,
} from "./frame.ts";
import { meterVersion } from "./meter/metered.ts";

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

export const digestOf = (bytes: Uint8Array): string =>
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
