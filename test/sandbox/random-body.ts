import { signed, unsigned } from "./module-bytes.ts";

export type Random = () => number;

/** mulberry32: the same numbers for the same seed. */
export const seeded = (seed: number): Random => {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
};

export type Features = {
  readonly exceptions: boolean;
  readonly tailCalls: boolean;
  readonly loopParameters: boolean;
  /** Only some functions are exported: the others may be paid by their callers. */
  readonly hidden: boolean;
};

/** One instruction. Its cost is known before it runs, except what it takes by its length or by the pages it got. */
export type Item = {
  readonly bytes: readonly number[];
  readonly cost: number;
  readonly byLength: "fill" | "grow" | null;
};

export const params = 2;
export const declared = 3;

const throwCost = 2000;
const bulkCost = 16;
const growCost = 500;
const divisionCost = 8;

type Label = { readonly arity: number };

const compareAndCompute = [0x6a, 0x6b, 0x6c, 0x71, 0x72, 0x73, 0x46, 0x48, 0x4a];

/** Writes one function's body. */
export const writeBody = (
  random: Random,
  features: Features,
  functionCount: number,
): readonly Item[] => {
  const items: Item[] = [];
  const labels: Label[] = [{ arity: 1 }];
  const isLeaf = random() < 0.3;
  const below = (count: number): number => Math.floor(random() * count);
  const put = (...bytes: readonly number[]): void => {
    items.push({ bytes, cost: 1, byLength: null });
  };
  const constant = (value: number): void => put(0x41, ...signed(value));
  const local = (): number => below(params + declared);

  /** Ends the function when the steps are used up, so that every loop and recursion ends. */
  const step = (result: number): void => {
    put(0x23, 0);
    constant(1);
    put(0x6b);
    put(0x24, 0);
    put(0x23, 0);
    constant(0);
    put(0x48);
    put(0x04, 0x40);
    constant(result);
    put(0x0f);
    put(0x0b);
  };

  const inside = (label: Label, write: () => void): void => {
    labels.push(label);
    write();
    labels.pop();
  };

  const calls = (depth: number): void => {
    value(depth);
    value(depth);
    if (isLeaf) return put(0x6a);
    if (random() < 0.75) return put(0x10, ...unsigned(below(functionCount)));
    value(0);
    constant(1);
    put(0x71);
    items.push({ bytes: [0x11, 0, 0], cost: 3, byLength: null });
  };

  const divides = (depth: number): void => {
    value(depth);
    value(depth);
    constant(1);
    put(0x72); // the divisor is odd: never zero
    items.push({ bytes: [0x6e], cost: divisionCost, byLength: null });
  };

  const grows = (): void => {
    constant(random() < 0.5 ? 1 : 3000);
    items.push({ bytes: [0x40, 0], cost: 1 + growCost, byLength: "grow" });
  };

  const chooses = (depth: number): void => {
    value(depth);
    put(0x04, 0x7f);
    inside({ arity: 1 }, () => {
      value(depth);
      put(0x05);
      value(depth);
    });
    put(0x0b);
  };

  const leavesBlock = (depth: number): void => {
    put(0x02, 0x7f);
    inside({ arity: 1 }, () => {
      value(depth);
      if (random() < 0.5) {
        value(depth);
        put(0x0d, 0);
      }
    });
    put(0x0b);
  };

  const loads = (depth: number): void => {
    value(depth);
    constant(0xfff);
    put(0x71);
    put(0x28, 2, ...unsigned(below(300)));
  };

  const computes = (depth: number): void => {
    value(depth);
    value(depth);
    put(compareAndCompute[below(compareAndCompute.length)]!);
  };

  const selects = (depth: number): void => {
    for (let i = 0; i < 3; i++) value(depth);
    put(0x1b);
  };

  const values = [computes, computes, loads, chooses, leavesBlock, calls, divides, selects, grows];

  /** Pushes an i32. */
  const value = (depth: number): void => {
    const kind = below(values.length + 3);
    if (depth > 0 && kind < values.length) return values[kind]!(depth - 1);
    if (random() < 0.4) constant(below(200) - 100);
    else put(0x20, ...unsigned(local()));
  };

  /** A label without values, counted from the innermost; -1: there is none. */
  const emptyLabel = (): number => {
    const found: number[] = [];
    for (const [i, { arity }] of labels.entries())
      if (arity === 0) found.push(labels.length - 1 - i);
    return found.length === 0 ? -1 : found[below(found.length)]!;
  };

  const assigns = (): boolean => {
    value(2);
    put(0x21, ...unsigned(local()));
    return true;
  };

  const stores = (): boolean => {
    value(1);
    constant(0xfff);
    put(0x71);
    value(1);
    put(0x36, 2, ...unsigned(below(200)));
    return true;
  };

  const branchesIf = (): boolean => {
    const label = emptyLabel();
    if (label < 0) return assigns();
    value(1);
    put(0x0d, ...unsigned(label));
    return true;
  };

  const leaves = (): boolean => {
    if (random() < 0.6) return assigns();
    const label = emptyLabel();
    if (label < 0 || random() < 0.2) {
      value(1);
      put(0x0f);
    } else {
      put(0x0c, ...unsigned(label));
    }
    return false;
  };

  const blocks = (depth: number): boolean => {
    put(0x02, 0x40);
    inside({ arity: 0 }, () => statements(depth));
    put(0x0b);
    return true;
  };

  const loops = (depth: number): boolean => {
    put(0x03, 0x40);
    inside({ arity: 0 }, () => {
      step(7);
      const isLive = statements(depth);
      if (!isLive || random() < 0.3) return;
      if (random() < 0.3) return put(0x0c, 0);
      value(1);
      put(0x0d, 0);
    });
    put(0x0b);
    return true;
  };

  const loopsWithParameter = (depth: number): boolean => {
    if (!features.loopParameters) return loops(depth);
    value(1);
    put(0x03, 2);
    inside({ arity: 1 }, () => {
      step(9);
      put(0x21, 2);
      statements(depth);
      put(0x20, 2);
      if (random() < 0.3) return;
      put(0x20, 3);
      put(0x0d, 0);
    });
    put(0x0b);
    put(0x21, 4);
    return true;
  };

  const conditions = (depth: number): boolean => {
    value(1);
    put(0x04, 0x40);
    inside({ arity: 0 }, () => {
      statements(depth);
      if (random() < 0.5) return;
      put(0x05);
      statements(depth);
    });
    put(0x0b);
    return true;
  };

  const branchesByTable = (): boolean => {
    const targets: number[] = [];
    for (let i = below(5); i >= 0; i--) targets.push(emptyLabel());
    if (targets.includes(-1)) return assigns();
    value(1);
    constant(7);
    put(0x71);
    put(0x0e, ...unsigned(targets.length - 1), ...targets.flatMap(unsigned));
    return false;
  };

  const fills = (): boolean => {
    value(1);
    constant(0xfff);
    put(0x71);
    value(0);
    value(1);
    constant(0xff);
    put(0x71);
    items.push({ bytes: [0xfc, 11, 0], cost: 1 + bulkCost, byLength: "fill" });
    return true;
  };

  const tailCalls = (): boolean => {
    if (!features.tailCalls || isLeaf || random() < 0.6) return stores();
    value(1);
    value(1);
    put(0x12, ...unsigned(below(functionCount)));
    return false;
  };

  const throwsOrCatches = (depth: number): boolean => {
    if (!features.exceptions || random() < 0.4) return branchesIf();
    if (random() < 0.3) {
      items.push({ bytes: [0x08, 0], cost: 1 + throwCost, byLength: null });
      return false;
    }
    put(0x02, 0x40);
    inside({ arity: 0 }, () => {
      put(0x1f, 0x40, 1, 2, ...unsigned(emptyLabel()));
      inside({ arity: 0 }, () => statements(depth));
      put(0x0b);
    });
    put(0x0b);
    return true;
  };

  const flat = [assigns, assigns, stores, branchesIf, branchesIf, leaves, fills, tailCalls];
  const nested = [
    blocks,
    loops,
    loops,
    loopsWithParameter,
    conditions,
    conditions,
    branchesByTable,
    throwsOrCatches,
  ];

  /** false: what follows cannot be reached. */
  const statement = (depth: number): boolean => {
    const kind = below(flat.length + (depth > 0 ? nested.length : 0));
    return kind < flat.length ? flat[kind]!() : nested[kind - flat.length]!(depth - 1);
  };

  const statements = (depth: number): boolean => {
    for (let i = below(4); i >= 0; i--) if (!statement(depth)) return false;
    return true;
  };

  step(5);
  if (statements(4)) {
    value(2);
    const ending = below(4);
    if (ending === 0) put(0x0f);
    if (ending === 1) put(0x0c, 0);
  }
  put(0x0b);
  return items;
};
