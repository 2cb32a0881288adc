import { writeWide } from "./writer.ts";

/** Part of the name of every cached module: raise it when the same module would be metered differently. */
export const meterVersion = 1;

export type MeteredModule = {
  readonly bytes: Uint8Array;
  /** Of the memory, in pages of 64 KiB; Infinity: the module sets no maximum. */
  readonly pagesMin: number;
  readonly pagesMax: number;
  readonly memoryMaxAt: number;
  readonly imports: readonly string[];
  readonly exports: readonly string[];
  readonly functionCount: number;
  /** The text of the custom section `engram.tool`. */
  readonly toolSection: string | null;
};

/** Bounds the memory of a metered module to `pages` in place. */
export const limitMemory = (
  metered: { readonly bytes: Uint8Array; readonly memoryMaxAt: number; readonly pagesMax: number },
  pages: number,
): void => writeWide(metered.bytes, metered.memoryMaxAt, Math.min(pages, metered.pagesMax));
