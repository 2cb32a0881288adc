/** Section numbers of the binary format. */
export const section = {
  custom: 0,
  type: 1,
  import: 2,
  function: 3,
  table: 4,
  memory: 5,
  global: 6,
  export: 7,
  start: 8,
  element: 9,
  code: 10,
  data: 11,
  dataCount: 12,
  tag: 13,
} as const;

/** The order in which sections stand in a file. */
export const sectionOrder: readonly number[] = [
  section.type,
  section.import,
  section.function,
  section.table,
  section.memory,
  section.tag,
  section.global,
  section.export,
  section.start,
  section.element,
  section.dataCount,
  section.code,
  section.data,
];

/** A table's or memory's limits, and where in the file they stand. */
export type Limits = {
  readonly min: number;
  /** Infinity: none given. */
  readonly max: number;
  readonly at: number;
  readonly end: number;
};

/** What the sections before the code say. */
export type ModuleShape = {
  readonly bytes: Uint8Array;
  /** Where each section's content is; absent sections are not in it. */
  readonly sections: ReadonlyMap<number, { readonly at: number; readonly end: number }>;
  /** The text of the custom section `engram.tool`. */
  readonly toolSection: string | null;
  readonly typeCount: number;
  readonly paramCounts: readonly number[];
  /** As in preview1.ts; types beyond i32 and i64 are `?`. */
  readonly signatures: readonly string[];
  readonly imports: readonly string[];
  readonly importedCount: number;
  /** Type index by function index, imported functions first. */
  readonly functionTypes: readonly number[];
  readonly tables: readonly Limits[];
  readonly memory: Limits | null;
  readonly globalCount: number;
  readonly tagCount: number;
  readonly exports: ReadonlyMap<string, { readonly kind: number; readonly index: number }>;
  readonly start: number | null;
  /** By function index: 1 where it can be called other than by a direct call, so that it must charge itself. */
  readonly reachable: Uint8Array;
};

/** Numbers of what a module can import and export. */
export const externalKind = { function: 0, memory: 2, global: 3 } as const;

/** Names of exports through which the host reaches what metering adds. */
export const hostExport = {
  fuelGet: "__engram_fuel_get",
  fuelSet: "__engram_fuel_set",
  growFailed: "__engram_grow_failed",
  start: "__engram_start",
} as const;

/** The unit of a memory's limits. */
export const pageBytes = 65_536;
