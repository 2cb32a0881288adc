/**
 * Fuel: one unit per instruction, more for what takes an order of magnitude longer. Measured on JavaScriptCore: a plain
 * instruction takes 0.2 to 0.3 ns.
 */
export const costOf = new Uint8Array(256).fill(1);

/** Integer division and remainder, float division and square root: 4 to 5 ns. */
const slowArithmetic = [0x6d, 0x6e, 0x6f, 0x70, 0x7f, 0x80, 0x81, 0x82, 0x91, 0x95, 0x9f, 0xa3];
for (const opcode of slowArithmetic) costOf[opcode] = 8;
costOf[0x11] = 3; // call_indirect
costOf[0x25] = 8; // table.get
costOf[0x26] = 32; // table.set

/** Square root and division of vectors, by the number after the prefix 0xfd. */
export const vectorSlow: ReadonlySet<number> = new Set([0xe3, 0xe7, 0xef, 0xf3]);

export const staticCosts = {
  /** Added to each kind of slow instruction's own cost. */
  vectorSlow: 7,
  /** Throwing, unwinding one frame and catching: 300 to 450 ns, and 72 ns for each further frame. */
  throw: 2000,
  /** Per function entry, in a module that can throw. */
  unwind: 64,
  bulk: 16,
  /** Refused or not, a system call may be behind it: 94 ns. */
  memoryGrow: 500,
  /** Tables cannot grow, but the engine finds that out last. */
  tableGrow: 20_000,
  /** log2 of the fuel for one page of 64 KiB that memory.grow got: 0.6 us, and 1.35 us at the first touch of each 4 KiB. */
  grownPageShift: 13,
} as const;

/** Fuel by a bulk operation's length: the length shifted left (or right) by `shift`. */
export type BulkRate = { readonly shift: number; readonly right: boolean };

export const bulkRates = {
  /** 0.035 ns per byte. */
  bytes: { shift: 3, right: true },
  /** table.fill, table.copy: 1.4 to 1.8 ns per entry. */
  entries: { shift: 3, right: false },
  /** table.grow: by what it was asked for. */
  grownEntries: { shift: 5, right: false },
  /** table.init: 17 ns per entry. */
  initEntries: { shift: 6, right: false },
} as const satisfies Record<string, BulkRate>;

/** `bulkRates` in a fixed order, so that a point can name one by number. */
export const bulkRateList: readonly BulkRate[] = Object.values(bulkRates);
export const bulkRateIndex = (rate: BulkRate): number => bulkRateList.indexOf(rate);
