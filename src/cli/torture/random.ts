/** Chance that comes from a seed: the same seed and name give the same numbers. */
export type Random = {
  /** From 0 to below 1. */
  next(): number;
  /** A whole number from `least` to `most`, both included. */
  between(least: number, most: number): number;
  chance(share: number): boolean;
  /** One of the list, which must not be empty. */
  pick<T>(list: readonly [T, ...T[]]): T;
  /** Another source of numbers, which stays the same whatever is drawn from this one. */
  named(name: string): Random;
};

/** splitmix32 over the seed and a hash of the name: small, and good enough to vary stories. */
export function makeRandom(seed: number, name = ""): Random {
  let state = (seed ^ Bun.hash.crc32(name)) >>> 0;
  const next = (): number => {
    state = (state + 0x9e37_79b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0_aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a_2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  };
  const between = (least: number, most: number): number =>
    least + Math.floor(next() * (most - least + 1));
  return {
    next,
    between,
    chance: (share) => next() < share,
    pick: (list) => list[between(0, list.length - 1)] ?? list[0],
    named: (other) => makeRandom(seed, `${name}/${other}`),
  };
}
